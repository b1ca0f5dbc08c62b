package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/prop"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server/servertest"

	"github.com/interlock-pg/interlock/harness"
)

// alone generates inputs of one client with one device, who plans visits one after another, beside starting rows.
func alone(rows int, statuses ...string) gopter.Gen {
	return generator(func(d dice) SchedulesInput {
		in := SchedulesInput{Base: d.base(Window), Devices: []string{"AED-1"}, Schedules: []StartSchedule{}}
		for range d.between(0, rows) {
			if s := (StartSchedule{Inspector: 1, At: d.when(Window), Status: oneOf(d, statuses...)}); in.fits(s, Window) {
				in.Schedules = append(in.Schedules, s)
			}
		}
		c := SchedulesClient{TimeZone: d.timeZone()}
		for range d.between(1, 6) {
			c.Operations = append(c.Operations, ScheduleOperation{Kind: Create, At: d.when(Window)})
		}
		in.Clients = append(in.Clients, c)
		return in
	}, func(in SchedulesInput) gopter.Shrink { return shrinkSchedules(in, Window) })
}

// refusedRightly says that a visit is refused if, and only if, it would break S2. What would break S2 is found out by S2 itself.
func (b bench) refusedRightly(d Defence) func(SchedulesInput) (string, error) {
	return func(in SchedulesInput) (string, error) {
		require.NoError(b, b.db.Reset(b.ctx, b.conn))
		require.NoError(b, in.start(b.ctx, b.conn))
		s := schedulesScenario(d, in, Window)
		for i, op := range s.Clients[0].Operations {
			at := in.Clients[0].Operations[i].At
			breaks := false
			tx, err := b.conn.Begin(b.ctx)
			require.NoError(b, err)
			b.exec(`insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for) values (1, '', $1)`, at.value(in.Base, 0))
			rows, err := S2(Window).Offending(b.ctx, b.conn)
			require.NoError(b, err)
			breaks = rows.Total > 0
			require.NoError(b, tx.Rollback(b.ctx))

			answer := op.Do(b.ctx, b.conn).Resolve()
			if want := (map[bool]harness.Outcome{false: harness.Created, true: harness.Conflict})[breaks]; answer.Outcome != want {
				return fmt.Sprintf("operation %d: told %s, should be %s", i, answer.Outcome, want), nil
			}
		}
		return "", nil
	}
}

// counterexample looks for a counterexample and returns the smallest; nil: none was found.
func counterexample(t *testing.T, property func(SchedulesInput) (string, error), inputs gopter.Gen) *SchedulesInput {
	t.Helper()
	parameters := gopter.DefaultTestParametersWithSeed(7341)
	parameters.MinSuccessfulTests = 100
	result := prop.ForAll(property, inputs).Check(parameters)
	if result.Passed() {
		return nil
	}
	require.NoError(t, result.Error)
	require.Len(t, result.Args, 1)
	in := result.Args[0].Arg.(SchedulesInput)
	return &in
}

func TestRefusedRightly(t *testing.T) {
	b := setup(t, 1)
	all := []string{"scheduled", "in_progress", "completed", "cancelled"}
	for _, name := range []string{"serializable", "advisory", "rowlock", "repeatable-read", "rowlock-repeatable-read"} {
		t.Run(name, func(t *testing.T) {
			if name != "advisory" {
				servertest.Slow(t)
			}
			require.Nil(t, counterexample(t, b.refusedRightly(defence(t, name)), alone(3, all...)))
		})
	}
	t.Run("constraint", func(t *testing.T) {
		b := setup(t, 3)
		// S2 cannot be asked what would break it where the database does not let it be broken, so the rule is asked in Go.
		require.Nil(t, counterexample(t, func(in SchedulesInput) (string, error) { return b.refusedByTheRule(in) }, alone(3, all...)))
	})
	t.Run("none, the window is lopsided (DOMAIN 5)", func(t *testing.T) {
		in := counterexample(t, b.refusedRightly(defence(t, "none")), alone(0))
		require.NotNil(t, in)
		ops := in.Clients[0].Operations
		require.Len(t, ops, 2, "%+v", in)
		require.Equal(t, Window, time.Duration(ops[1].At.Offset-ops[0].At.Offset), "%+v", in)
		require.Equal(t, plainBaseTime, in.Base)
	})
	t.Run("none, a cancelled visit is in the way (DOMAIN 6)", func(t *testing.T) {
		in := counterexample(t, b.refusedRightly(defence(t, "none")), alone(2, "cancelled").SuchThat(func(in SchedulesInput) bool {
			return len(in.Clients[0].Operations) == 1
		}))
		require.NotNil(t, in)
		require.Equal(t, []StartSchedule{{Inspector: 1, Status: "cancelled"}}, in.Schedules)
		require.Equal(t, []ScheduleOperation{{Kind: Create}}, in.Clients[0].Operations)
	})
}

// refusedByTheRule compares the constraint with a model of the rule.
func (b bench) refusedByTheRule(in SchedulesInput) (string, error) {
	var live []When
	for _, s := range in.Schedules {
		if s.live() {
			live = append(live, s.At)
		}
	}
	ops := in.Clients[0].Operations
	told := outcomes(b.oneByOne(schedulesScenario(defence(b, "constraint"), in, Window), make([]int, len(ops))...))
	for i, op := range ops {
		want := harness.Created
		if slices.ContainsFunc(live, func(other When) bool { return !other.apart(op.At, Window) }) {
			want = harness.Conflict
		} else {
			live = append(live, op.At)
		}
		if told[i] != want {
			return fmt.Sprintf("operation %d: told %s, should be %s", i, told[i], want), nil
		}
	}
	return "", nil
}

// TestRevival is DOMAIN 12: an inspector resumes a session that was cleaned up, beside one that somebody opened since.
func TestRevival(t *testing.T) {
	for _, kind := range []Kind{Resume, Pause} {
		in := SessionsInput{
			Devices: []string{"AED-1"}, Sessions: []StartSession{{Status: "active", Stale: true}},
			Clients: []SessionsClient{sessionsOf(0, kind), sessionsOf(1, CleanUp, Create)},
		}
		for _, d := range Defences() {
			t.Run(fmt.Sprintf("%s, %s", kind, d.Name), func(t *testing.T) {
				b := setup(t, 1)
				told := outcomes(b.oneByOne(sessionsScenario(d, in), 1, 1, 0))
				rows, err := S1().Offending(b.ctx, b.conn)
				require.NoError(t, err)
				if d.Naive {
					require.Equal(t, []harness.Outcome{harness.Done, harness.Created, harness.Done}, told)
					require.Equal(t, 1, rows.Total)
					return
				}
				require.Equal(t, []harness.Outcome{harness.Done, harness.Created, harness.NotFound}, told)
				require.Zero(t, rows.Total)
			})
		}
	}
}

// gate holds a client's first COMMIT until it is opened.
type gate struct{ reached, opened chan struct{} }

func (g *gate) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if data.SQL == "commit" {
		select {
		case <-g.reached:
		default:
			close(g.reached)
			<-g.opened
		}
	}
	return ctx
}

func (g *gate) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// overlap runs the first operations of two clients so that they overlap: the first runs up to its COMMIT; then the second runs until it is done
// or waits for the first; then the first goes on. Which of them it is that gets in is for the database to decide, the same way every time.
func (b bench) overlap(s harness.Scenario) []harness.Outcome {
	b.Helper()
	require.NoError(b, b.db.Reset(b.ctx, b.conn))
	require.NoError(b, s.Start(b.ctx, b.conn))
	held := &gate{make(chan struct{}), make(chan struct{})}
	config := b.db.Config("A")
	config.Tracer = held
	first, err := pgx.ConnectConfig(b.ctx, config)
	require.NoError(b, err)
	b.Cleanup(func() { _ = first.Close(context.Background()) })
	second := b.connect("B")

	told := make([]harness.Outcome, 2)
	run := func(i int, conn *pgx.Conn) <-chan struct{} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			told[i] = s.Clients[i].Operations[0].Do(b.ctx, conn).Resolve().Outcome
		}()
		return done
	}
	a := run(0, first)
	<-held.reached
	z := run(1, second)
	for blocked := false; !blocked; {
		select {
		case <-z:
			blocked = true // not at all: it is done
		default:
			require.NoError(b, b.conn.QueryRow(b.ctx, `select $1::int = any(pg_blocking_pids($2))`, first.PgConn().PID(), second.PgConn().PID()).Scan(&blocked))
		}
	}
	close(held.opened)
	<-a
	<-z
	return told
}

// TestOverlap forces the two orders that matter on every defence: both clients look before either has committed.
func TestOverlap(t *testing.T) {
	servertest.Slow(t)
	var sessions SessionsInput
	require.NoError(t, json.Unmarshal([]byte(`{"devices": ["AED-1"], "clients": [
		{"inspector": 0, "time_zone": "UTC", "operations": [{"kind": "create"}]},
		{"inspector": 1, "time_zone": "UTC", "operations": [{"kind": "create"}]}]}`), &sessions))
	var schedules SchedulesInput
	require.NoError(t, json.Unmarshal([]byte(`{"base": "2025-11-10T10:00:00Z", "devices": ["AED-1"], "clients": [
		{"inspector": 0, "time_zone": "UTC", "operations": [{"kind": "create"}]},
		{"inspector": 1, "time_zone": "UTC", "operations": [{"kind": "create", "at": {"offset": "29m59.999999s"}}]}]}`), &schedules))

	for version := int64(1); version <= 3; version++ {
		for _, d := range Defences() {
			t.Run(fmt.Sprintf("%s at %d", d.Name, version), func(t *testing.T) {
				b := setup(t, version)
				for name, test := range map[string]struct {
					scenario harness.Scenario
					rule     harness.Invariant
					kept     bool
				}{
					"sessions":  {sessionsScenario(d, sessions), S1(), version >= sessionsKept},
					"schedules": {schedulesScenario(d, schedules, Window), S2(Window), version >= schedulesKept},
				} {
					told := b.overlap(test.scenario)
					want := []harness.Outcome{harness.Created, harness.Conflict}
					switch {
					case d.sound(), d.Insert && test.kept:
					case test.kept:
						want = []harness.Outcome{harness.Created, harness.Failed}
					default:
						want = []harness.Outcome{harness.Created, harness.Created}
					}
					require.ElementsMatch(t, want, told, name)
					rows, err := test.rule.Offending(b.ctx, b.conn)
					require.NoError(t, err)
					require.Equal(t, want[1] == harness.Created, rows.Total > 0, name)
				}
			})
		}
	}
}
