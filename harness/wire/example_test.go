package wire_test

import (
	"context"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/wire"
)

// Two clients take a lock that only one may have. The order that is given here lets both.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	srv, err := servertest.Shared()
	if err != nil {
		log.Fatal(err)
	}
	control, err := pgx.ConnectConfig(ctx, srv.Config("", "control"))
	if err != nil {
		log.Fatal(err)
	}
	defer control.Close(ctx)
	if _, err := control.Exec(ctx, `create table example_locks (name text)`); err != nil {
		log.Fatal(err)
	}
	defer control.Exec(ctx, `drop table example_locks`)

	gate := wire.New(wire.Config{Split: true, Hide: wire.HideLog})
	defer gate.Close()
	var clients sync.WaitGroup
	for _, name := range []string{"A", "B"} {
		config := srv.Config("", name)
		gate.Attach(&config.Config, name)
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			log.Fatal(err)
		}
		clients.Go(func() {
			defer conn.Close(ctx)
			_, err := conn.Exec(ctx, `insert into example_locks select 'm' where not exists (select from example_locks)`)
			if err != nil {
				log.Print(err)
			}
		})
	}

	sessions := gate.Sessions()
	a, b := sessions[0], sessions[1]
	for _, s := range []*wire.Session{a, b, a, b} {
		var now wire.State
		look := func(is func() bool) {
			if err := gate.Wait(ctx, func() bool { now = s.State(); return is() }); err != nil {
				log.Fatal(err)
			}
		}
		look(func() bool { return now.Phase == wire.Holding })
		step := now.Step
		s.Release(step.Index)
		// It answers, or waits for a lock: then now.Waits > 0, where the server logs that.
		look(func() bool { return now.Answered >= step.Index || now.Waits > 0 })
		fmt.Printf("%s %s %q\n", s.Name(), step.Kind, now.Result.Tag)
	}
	clients.Wait()
	var n int
	if err := control.QueryRow(ctx, `select count(*) from example_locks`).Scan(&n); err != nil {
		log.Fatal(err)
	}
	fmt.Println(n, "have it")
	// Output:
	// A statement "INSERT 0 1"
	// B statement "INSERT 0 1"
	// A commit ""
	// B commit ""
	// 2 have it
}
