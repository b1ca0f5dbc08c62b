package target_test

import (
	"fmt"

	"github.com/interlock-pg/interlock/harness/target"
)

const bookings = `
name: bookings
database: {schema: schema.sql}
application:
  command: [node, server.js]
  environment: {DATABASE_URL: "{{proxy_url}}", PORT: "{{port}}"}
generators:
  room: {choice: [1, 2]}
clients:
  - copies: 2
    requests: [{name: book, path: "/rooms/{{room}}/bookings", json: {guest: "{{client}}"}}]
`

// All that is wrong with a file is told at once.
func ExampleParse() {
	_, err := target.Parse("bookings.yaml", []byte("database: {schemas: schema.sql}\nclients:\n  - comand: [python3, job.py]\n    copies: two\n"))
	fmt.Println(err)
	// Output:
	// bookings.yaml:1:12: there is no key "schemas" here
	// database: {schemas: schema.sql}
	//            ^
	// try: schema
	//
	// bookings.yaml:3:5: there is no key "comand" here
	//   - comand: [python3, job.py]
	//     ^
	// try: command
	//
	// bookings.yaml:4:13: "two" is no whole number
	//     copies: two
	//             ^
	// try: digits, as 3
}

// An input says what is sent; a driver builds the race from it.
func ExampleFile_Workload() {
	file, err := target.Parse("bookings.yaml", []byte(bookings))
	if err != nil {
		fmt.Println(err)
		return
	}
	workload, err := file.Workload(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	input, _ := workload.Contend(2, 0)
	for _, client := range workload.Scenario(input).Clients {
		for _, operation := range client.Operations {
			raw, _ := operation.Input.(interface{ MarshalJSON() ([]byte, error) }).MarshalJSON()
			fmt.Printf("%s: %s %s\n", client.Name, operation.Kind, raw)
		}
	}
	// Output:
	// A: book {"method":"POST","path":"/rooms/1/bookings","body":{"guest":"A"}}
	// A 2: book {"method":"POST","path":"/rooms/1/bookings","body":{"guest":"A 2"}}
}
