package harness_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/local"
)

// Two clients want the last seat. Each looks whether it is free, and then takes it: at READ COMMITTED both may get it.
func Example() {
	ctx := context.Background()
	srv, err := local.Provider{}.Start(ctx, server.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Stop(ctx)

	takeSeat := harness.Operation{
		Kind: "take seat", Slot: "seat 1",
		Do: func(ctx context.Context, conn *pgx.Conn) harness.Answer {
			taken := errors.New("taken")
			err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				var n int
				if err := tx.QueryRow(ctx, `select count(*) from bookings where seat = 1`).Scan(&n); err != nil {
					return err
				} else if n > 0 {
					return taken
				}
				_, err := tx.Exec(ctx, `insert into bookings values (1)`)
				return err
			})
			switch {
			case errors.Is(err, taken):
				return harness.Answer{Outcome: harness.Conflict}
			case err != nil:
				return harness.Answer{Err: err}
			}
			return harness.Answer{Outcome: harness.Created}
		},
	}
	seats := harness.Fixed("seats", func() harness.Scenario {
		return harness.Scenario{
			Clients: []harness.Client{
				{Operations: []harness.Operation{takeSeat}},
				{Operations: []harness.Operation{takeSeat}},
			},
			Invariants: []harness.Invariant{{
				Name: "one booking", Says: "a seat is booked at most once",
				SQL: `select seat, count(*) from bookings group by seat having count(*) > 1`,
			}},
		}
	})
	run, err := harness.Run(ctx, harness.Config{
		Server: srv, Stages: []harness.Stage{harness.Schema(`create table bookings (seat int)`)}, Workloads: []harness.Workload{seats},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	found := run.Cells[0].Counterexamples[0]
	fmt.Println(run.Verdict, found.Invariant, "with", found.Clients, "clients")
	// Output: violated one booking with 2 clients
}
