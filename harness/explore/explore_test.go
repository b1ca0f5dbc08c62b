package explore_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// one says that a slot is taken once at most.
var one = race.Invariant{Name: "one", Says: "a slot is taken once", SQL: `select slot, count(*) from taken group by slot having count(*) > 1`}

// checkThenInsert has n clients take one slot, each after looking whether it is free.
func checkThenInsert(n int) func() race.Scenario {
	return func() race.Scenario {
		s := race.Scenario{Invariants: []race.Invariant{one}}
		for i := range n {
			s.Clients = append(s.Clients, race.Client{Name: string(rune('A' + i)), Operations: []race.Operation{{
				Kind: "take",
				Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
					answer := race.Answer{Outcome: race.Created}
					answer.Err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
						var taken int
						if err := tx.QueryRow(ctx, `select count(*) from taken where slot = $1`, "s").Scan(&taken); err != nil {
							return err
						}
						if taken > 0 {
							answer.Outcome = race.Conflict
							return nil
						}
						_, err := tx.Exec(ctx, `insert into taken (slot, by) values ($1, $2)`, "s", i)
						return err
					})
					if answer.Err != nil {
						answer.Outcome = race.Failed
					}
					return answer
				},
			}}})
		}
		return s
	}
}

func explorer(t testing.TB, schema string) *explore.Explorer {
	e := explore.New(servertest.Template(t, schema))
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	return e
}

// readThenInsert has n clients read a table and insert a row, whatever they read.
func readThenInsert(n int, level pgx.TxIsoLevel) func() race.Scenario {
	return func() race.Scenario {
		s := race.Scenario{Invariants: []race.Invariant{one}}
		for range n {
			s.Clients = append(s.Clients, statements(level, `select count(*) from taken`, `insert into taken (slot) values ('s')`))
		}
		return s
	}
}

// statements returns a client that executes statements in one transaction; without a level, each in one of its own.
func statements(level pgx.TxIsoLevel, sql ...string) race.Client {
	return race.Client{Operations: []race.Operation{{Kind: "statements", Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
		if level == "" {
			for _, s := range sql {
				if _, err := conn.Exec(ctx, s); err != nil {
					return race.Answer{Err: err}
				}
			}
			return race.Answer{}
		}
		return race.Answer{Err: pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: level}, func(tx pgx.Tx) error {
			for _, s := range sql {
				if _, err := tx.Exec(ctx, s); err != nil {
					return err
				}
			}
			return nil
		})}
	}}}}
}

func TestCounts(t *testing.T) {
	for _, c := range []struct {
		name, schema string
		level        pgx.TxIsoLevel
		atEnd        bool
		clients      int
		want         int
	}{
		{"at the end", plain, pgx.ReadCommitted, true, 2, 3},
		{"at the end", plain, pgx.ReadCommitted, true, 3, 19},
		{"at the end", plain, pgx.ReadCommitted, true, 4, 207},
		{"repeatable read", plain, pgx.RepeatableRead, true, 3, 19},
		{"serializable", plain, pgx.Serializable, true, 2, 12},
		{"after every commit", plain, pgx.ReadCommitted, false, 2, 4},
		{"after every commit", plain, pgx.ReadCommitted, false, 3, 36},
		{"unique index", unique, pgx.ReadCommitted, true, 2, 6},
		{"unique index", unique, pgx.ReadCommitted, true, 3, 42},
	} {
		if c.clients > 3 && !servertest.Thorough() {
			continue
		}
		t.Run(fmt.Sprint(c.name, " ", c.clients), func(t *testing.T) {
			got, err := explorer(t, c.schema).Explore(t.Context(), readThenInsert(c.clients, c.level), explore.Config{AtEnd: c.atEnd})
			require.NoError(t, err)
			require.NoError(t, got.Err)
			t.Logf("%+v", got.Exploration)
			require.True(t, got.Complete)
			require.Equal(t, c.want, got.Executed)
		})
	}
}

// Clients that branch on what they read make fewer steps in some orders. There are as many orders to tell apart as there are ways to put clients
// into a row, ties allowed: those that tie do not see each other.
func TestBranches(t *testing.T) {
	e := explorer(t, plain)
	for n, want := range map[int]int{2: 3, 3: 13, 4: 75} {
		got, err := e.Explore(t.Context(), checkThenInsert(n), explore.Config{AtEnd: true})
		require.NoError(t, err)
		require.True(t, got.Complete)
		require.Equal(t, want, got.Executed)
		require.Empty(t, got.Possible, "it depends on the order how many there are")
	}
}
