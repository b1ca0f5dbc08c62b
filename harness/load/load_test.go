package load_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/load"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m, func() error { return goleak.Find() }) }

const notes = `create table notes (id bigint generated always as identity primary key, device int not null, open boolean not null default true)`

// adding is a workload whose clients add notes, each after so many rounds of doing nothing at the server.
func adding(variant, first string) race.Workload {
	return race.Workload{Name: "notes", Variant: variant, Stream: func(shape race.Shape) race.Stream {
		return race.Stream{
			Fill: func(ctx context.Context, conn *pgx.Conn) error {
				_, err := conn.Exec(ctx, fmt.Sprintf(`insert into notes (device, open) select i %% %d, false from generate_series(1, %d) i`, shape.Devices, shape.Rows))
				return err
			},
			Client: func(n int) func() race.Operation {
				i := n
				return func() race.Operation {
					i++
					device := i % shape.Devices
					return race.Operation{Kind: "add", Subject: fmt.Sprint(device), Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
						answer := race.Answer{Outcome: race.Created}
						if first != "" {
							if _, answer.Err = conn.Exec(ctx, first); answer.Err != nil {
								return race.Answer{Err: answer.Err}
							}
						}
						if answer.Err = conn.QueryRow(ctx, `insert into notes (device) values ($1) returning id::text`, device).Scan(&answer.Row); answer.Err != nil {
							answer.Outcome = race.Failed
						}
						return answer
					}}
				}
			},
			Invariants: []race.Invariant{
				{Name: "N1", Says: "there are notes", SQL: `select 1 where not exists (select from notes)`},
				{Name: "N5", Says: "what was acknowledged is there, and nothing else", Outcomes: true, SQL: `
					select coalesce(o.row_id, n.id::text) from (select * from interlock_outcomes where outcome = 'created') o
					full join (select * from notes where open) n on n.id::text = o.row_id where o.row_id is null or n.id is null`},
			},
		}
	}}
}

func measure(t *testing.T, config load.Config, workloads ...race.Workload) history.Measurement {
	t.Helper()
	config.Server = servertest.Server(t)
	template := servertest.Template(t, notes)
	for i, w := range workloads {
		config.Subjects = append(config.Subjects, load.Subject{Workload: w, Template: template, Base: i == 0})
	}
	m, err := load.Run(t.Context(), config)
	require.NoError(t, err)
	return m
}

func TestSideBySide(t *testing.T) {
	servertest.Slow(t)
	t.Parallel()
	m := measure(t, load.Config{Clients: []int{2}, For: 1500 * time.Millisecond, Slice: 50 * time.Millisecond, Warmup: 50 * time.Millisecond, Rows: 100},
		adding("plain", ""), adding("slow", `select pg_sleep(0.002)`))
	require.Len(t, m.Arms, 2)
	require.Equal(t, m.Arms[0].Measured+m.Arms[1].Measured, m.Harness.Wall, "the yardstick does not count")
	for _, a := range m.Arms {
		require.Equal(t, history.Held, a.Verdict, "%+v", a.Violations)
		require.True(t, a.AsExpected)
		require.Positive(t, a.Operations)
		require.Len(t, a.Slices, 10)
		for _, s := range a.Slices {
			require.Positive(t, s.Yardstick)
			require.Equal(t, map[string]history.Duration{"add": s.Mean}, s.Kinds)
		}
		require.Equal(t, a.Operations, a.Kinds[0].Count)
		require.Equal(t, "created", a.Kinds[0].Outcome)
		require.Positive(t, a.Looks)
		require.LessOrEqual(t, a.Latency.P50, a.Latency.P99)
		require.LessOrEqual(t, a.Latency.P99, a.Latency.Max)
		require.Positive(t, a.Database.WALBytes)
		require.Positive(t, a.Database.Commits)
		require.NotEmpty(t, a.Database.Relations)
	}
	require.Nil(t, m.Arms[0].Cost)
	require.Greater(t, m.Arms[1].Cost.Low, 1.5, "2 ms more are seen")
	require.Less(t, m.Arms[1].Speed.High, 1.0)
	require.Equal(t, 10, m.Arms[1].Cost.Turns)
	require.Empty(t, m.Outages)
	require.Positive(t, m.Harness.CPU)
}
