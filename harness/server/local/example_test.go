//go:build unix

package local_test

import (
	"context"
	"fmt"
	"log"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/local"
)

func ExampleProvider_Start() {
	ctx := context.Background()
	s, err := local.Provider{}.Start(ctx, server.Config{Settings: map[string]string{"work_mem": "8MB"}})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Stop(ctx)
	template, err := s.Template(ctx, migrate(`create table device (serial text primary key)`))
	if err != nil {
		log.Fatal(err)
	}
	db, err := template.Database(ctx)
	if err != nil {
		log.Fatal(err)
	}
	conn, err := db.Connect(ctx, "alice")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx)
	var memory string
	var devices int
	if err := conn.QueryRow(ctx, `select current_setting('work_mem'), count(*) from device`).Scan(&memory, &devices); err != nil {
		log.Fatal(err)
	}
	fmt.Println(memory, devices)
	// Output: 8MB 0
}

func ExampleFind() {
	found, err := local.Find(context.Background(), server.Config{})
	for _, in := range found {
		fmt.Printf("PostgreSQL %s in %s\n", in.Version, in.BinDir)
	}
	if err != nil {
		fmt.Println("and what cannot be used:", err)
	}
}
