package auto_test

import (
	"context"
	"fmt"
	"os"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/auto"
)

func ExampleProvider() {
	config := server.Config{Log: func(line string) { fmt.Fprintln(os.Stderr, line) }}
	s, err := auto.Provider{}.Start(context.Background(), config)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Stop(context.Background())
	fmt.Println("PostgreSQL", s.Release, "is ready in", s.Ready)
}
