package proxy_test

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/proxy"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/wire"
)

func Example() {
	ctx := context.Background()
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	srv, err := servertest.Shared()
	must(err)
	gate := wire.New(wire.Config{Split: true})
	p, err := proxy.Listen(ctx, "tcp", "127.0.0.1:0", proxy.Config{Server: &srv.Config("", "example").Config, Gate: gate, Auth: proxy.Trust})
	must(err)
	done := make(chan struct{})
	go func() { // an application, in any language
		defer close(done)
		conn, err := pgx.Connect(ctx, p.URL()+"&application_name=app")
		must(err)
		var n int
		must(conn.QueryRow(ctx, "select 7").Scan(&n))
		fmt.Println("app has", n)
		must(conn.Close(ctx))
	}()
	for range 2 {
		var s *wire.Session
		must(gate.Wait(ctx, func() bool {
			for _, s = range gate.Sessions() {
				if s.State().Phase == wire.Holding {
					return true
				}
			}
			return false
		}))
		step := s.State().Step
		fmt.Println(s.Name(), step.Kind, step.SQL)
		s.Release(step.Index)
	}
	<-done
	must(p.Close())
	// Output:
	// app statement select 7
	// app commit select 7
	// app has 7
}
