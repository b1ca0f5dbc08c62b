package scenarios

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/arena"
	"github.com/interlock-pg/interlock/harness/history"
)

func streamOf(t *testing.T, scenario, defence string, shape harness.Shape) harness.Stream {
	t.Helper()
	for _, w := range Workloads(Options{}) {
		if w.Name == scenario && w.Variant == defence {
			return w.Stream(shape)
		}
	}
	t.Fatalf("no workload %s/%s", scenario, defence)
	return harness.Stream{}
}

// drive lets the clients of a stream make so many operations each, all at the same time, until stop is set.
func (b bench) drive(s harness.Stream, clients, each int, stop *atomic.Bool) []history.Operation {
	b.Helper()
	told := make([][]history.Operation, clients)
	began := time.Now()
	var all sync.WaitGroup
	for n := range clients {
		conn, next := b.connect(fmt.Sprint("client ", n)), s.Client(n)
		all.Go(func() {
			for i := 0; i < each && !stop.Load(); i++ {
				op := next()
				invoked := time.Since(began)
				answer, err := arena.Do(b.ctx, op, conn)
				if err != nil {
					b.Errorf("client %d: %v", n, err)
					return
				}
				told[n] = append(told[n], arena.Record(fmt.Sprint(n), i, op, answer, invoked, time.Since(began)))
			}
		})
	}
	all.Wait()
	var operations []history.Operation
	for _, one := range told {
		operations = append(operations, one...)
	}
	return operations
}

func (b bench) number(sql string) (n int) {
	b.Helper()
	require.NoError(b, b.conn.QueryRow(b.ctx, sql).Scan(&n))
	return n
}

const (
	openNow   = `select count(*) from aedpics.inspection_sessions where status in ('active', 'paused') and id::text not like '` + startSessions + `%'`
	visitsNow = `select count(*) from aedpics.inspection_schedules where status <> 'cancelled' and id::text not like '` + startSchedules + `%'`
)

var soundDefences = []string{"constraint", "serializable", "advisory", "rowlock"}

// The clients of a stream go on for ever, all in order: the invariants hold, every kind of operation is made, few are refused, and what each of them
// keeps stays as much as it may.
func TestStreams(t *testing.T) {
	const clients, each = 4, 150
	shape := harness.Shape{Clients: clients, Devices: 100, Zipf: 0.5, Rows: 1000, Seed: 7}
	for _, test := range []struct {
		scenario string
		kinds    []string
		keeps    string
		most     int // kept by a client
	}{
		{"sessions", []string{"create session", "pause session", "resume session", "complete session", "cancel session"}, openNow, mostOpen},
		{"schedules", []string{"create schedule", "reschedule schedule", "cancel schedule"}, visitsNow, mostVisits},
	} {
		for _, name := range soundDefences {
			t.Run(test.scenario+"/"+name, func(t *testing.T) {
				b := setup(t, 3)
				s := streamOf(t, test.scenario, name, shape)
				require.NoError(t, s.Fill(b.ctx, b.conn))
				require.Zero(t, b.number(test.keeps))
				told := b.drive(s, clients, each, new(atomic.Bool))
				require.Len(t, told, clients*each)

				broken, err := b.arena.Judge(b.ctx, s.Invariants, told)
				require.NoError(t, err)
				require.Empty(t, broken)
				kinds, outcomes := map[string]int{}, map[string]int{}
				for _, op := range told {
					kinds[op.Kind]++
					outcomes[op.Outcome]++
				}
				require.ElementsMatch(t, test.kinds, keys(kinds))
				for kind, n := range kinds {
					require.Greater(t, n, clients*each/50, kind)
				}
				require.Less(t, outcomes["conflict"], clients*each/10, "%v", outcomes)
				require.Zero(t, outcomes["not found"]+outcomes["failed"]+outcomes["unknown"], "%v", outcomes)
				require.LessOrEqual(t, b.number(test.keeps), clients*test.most)
			})
		}
	}
}

func keys(counts map[string]int) (all []string) {
	for key := range counts {
		all = append(all, key)
	}
	return all
}

// Clients that crowd one device break the rule where nothing keeps it, and do not where something does.
func TestStreamsOfOneDevice(t *testing.T) {
	const clients, each = 8, 4000 // it is seen long before
	shape := harness.Shape{Clients: clients, Devices: 1, Seed: 7}
	for scenario, rule := range map[string]harness.Invariant{"sessions": S1(), "schedules": S2(Window)} {
		for _, test := range []struct {
			defence string
			breaks  bool
		}{{"none", true}, {"advisory", false}} {
			t.Run(scenario+"/"+test.defence, func(t *testing.T) {
				b := setup(t, 1)
				s := streamOf(t, scenario, test.defence, shape)
				require.NoError(t, s.Fill(b.ctx, b.conn))
				require.Equal(t, rule.Name, s.Invariants[0].Name)

				var stop atomic.Bool
				looks, broken := 0, 0
				var watching sync.WaitGroup
				watcher, ctx := b.connect("watcher"), context.WithoutCancel(b.ctx)
				watching.Go(func() {
					for !stop.Load() {
						rows, err := rule.Offending(ctx, watcher)
						if err != nil {
							b.Errorf("%v", err)
							return
						}
						looks++
						if rows.Total > 0 {
							broken++
							stop.Store(true)
						}
					}
				})
				most := each
				if !test.breaks {
					most = 50
				}
				b.drive(s, clients, most, &stop)
				stop.Store(true)
				watching.Wait()
				require.Positive(t, looks)
				require.Equal(t, test.breaks, broken > 0, "%d looks", looks)
			})
		}
	}
}

// What clients do first is the same for every defence, another for another seed, and another for another client.
func TestStreamsAreAlike(t *testing.T) {
	type request struct {
		Kind, Subject string
		Input         any
	}
	first := func(scenario, defence string, seed int64) (all []request) {
		s := streamOf(t, scenario, defence, harness.Shape{Clients: 8, Devices: 100, Zipf: 1, Seed: seed})
		for n := range 8 {
			op := s.Client(n)()
			require.Empty(t, op.Slot)
			require.NotEmpty(t, op.Subject)
			all = append(all, request{op.Kind, op.Subject, op.Input})
		}
		return all
	}
	for _, scenario := range []string{"sessions", "schedules"} {
		want := first(scenario, "none", 7)
		require.NotEqual(t, want[0], want[1])
		require.NotEqual(t, want, first(scenario, "none", 8))
		for _, d := range Defences() {
			require.Equal(t, want, first(scenario, d.Name, 7), "%s/%s", scenario, d.Name)
		}
	}
}

// However long it goes on, a client keeps about as much, and asks for the devices of the stream only.
func TestStreamsAreSteady(t *testing.T) {
	const operations = 20_000
	s := newStage(harness.Shape{Devices: 100, Seed: 7})
	kinds, kept, devices := map[Kind]int{}, 0, map[int]bool{}
	count := func(kind Kind, device, keeps, most int) {
		kinds[kind]++
		devices[device] = true
		kept += keeps
		require.LessOrEqual(t, keeps, most)
	}
	share := func(kind Kind) float64 { return float64(kinds[kind]) / operations }
	all := func() {
		require.Len(t, devices, 100)
		for device := range devices {
			require.True(t, device >= s.first && device < s.first+100)
		}
	}

	i := &inspector{stage: s, chance: s.dice(0), unsure: -1}
	for range operations {
		op := i.choose()
		i.learn(op, map[bool]harness.Outcome{true: harness.Created, false: harness.Done}[op.Kind == Create])
		count(op.Kind, op.Device, len(i.open), mostOpen)
	}
	all()
	require.InDelta(t, 1.3, float64(kept)/operations, 0.2)
	require.InDeltaMapValues(t, map[Kind]float64{Create: 0.37, Complete: 0.29, Cancel: 0.08, Pause: 0.17, Resume: 0.09},
		map[Kind]float64{Create: share(Create), Complete: share(Complete), Cancel: share(Cancel), Pause: share(Pause), Resume: share(Resume)}, 0.04)

	days := &calendar{devices: 100}
	p := &planner{stage: s, calendar: days, chance: s.dice(0)}
	clear(kinds)
	clear(devices)
	kept = 0
	for n := range operations {
		op, id := p.choose()
		told := harness.Answer{Outcome: harness.Done, Row: id}
		if op.Kind == Create {
			told = harness.Answer{Outcome: harness.Created, Row: fmt.Sprint(n)}
		}
		p.learn(op, told)
		if op.Kind != Cancel {
			require.GreaterOrEqual(t, time.Duration(op.At.Offset), days.today())
			require.Less(t, time.Duration(op.At.Offset), days.today()+horizon)
		}
		count(op.Kind, op.Device, len(p.visits), mostVisits)
	}
	all()
	require.InDelta(t, operations*0.32/100, days.today().Hours()/24, 5)
	require.InDelta(t, 14, float64(kept)/operations, 3)
	require.InDeltaMapValues(t, map[Kind]float64{Create: 0.32, Cancel: 0.32, Reschedule: 0.35},
		map[Kind]float64{Create: share(Create), Cancel: share(Cancel), Reschedule: share(Reschedule)}, 0.04)
}

// A session that an inspector may have without knowing is asked for again, and so is known in the end.
func TestLostAnswers(t *testing.T) {
	i := &inspector{stage: newStage(harness.Shape{Devices: 100}), actor: &sessionActor{serial: filledSerial}, chance: newJitter(0), unsure: -1}
	create := func(device int) SessionOperation { return SessionOperation{Kind: Create, Device: device} }
	i.learn(create(42), harness.Unknown)
	for range 3 {
		op := i.next()
		require.Equal(t, "create session", op.Kind)
		require.Equal(t, filledSerial(42), op.Subject)
	}
	i.learn(create(42), harness.Resumed)
	require.Equal(t, -1, i.unsure)
	require.Equal(t, []openSession{{device: 42}}, i.open)
	i.learn(SessionOperation{Kind: Pause, Device: 42}, harness.Unknown)
	require.Equal(t, []openSession{{device: 42}}, i.open)
	i.learn(SessionOperation{Kind: Pause, Device: 42}, harness.Done)
	require.Equal(t, []openSession{{device: 42, paused: true}}, i.open)
	i.learn(create(42), harness.Resumed)
	require.Equal(t, []openSession{{device: 42}}, i.open)
	i.learn(SessionOperation{Kind: Cancel, Device: 42}, harness.Failed)
	require.Equal(t, []openSession{{device: 42}}, i.open)
	i.learn(SessionOperation{Kind: Cancel, Device: 42}, harness.NotFound)
	require.Empty(t, i.open)
}

// The rows of a stream are those of Fill, and suffice for what the shape asks for. Its devices have no history.
func TestStage(t *testing.T) {
	for _, shape := range []harness.Shape{{}, {Devices: 1, Clients: 1}, {Devices: 3}, {Clients: 50, Devices: 7}, {Devices: 10, Rows: 400}} {
		s := newStage(shape)
		require.LessOrEqual(t, s.first+s.Devices, s.Rows, "%+v", shape)
		require.LessOrEqual(t, shape.Clients, s.Rows, "%+v", shape)
		require.GreaterOrEqual(t, s.Rows, shape.Rows, "%+v", shape)
		b := setup(t, 3)
		require.NoError(t, s.fill(b.ctx, b.conn))
		require.Equal(t, s.Rows, b.number(`select count(*) from aedpics.aed_data`))
		require.Zero(t, b.number(fmt.Sprintf(`select count(*) from aedpics.aed_data d where id > %d and (
			exists (select from aedpics.inspection_sessions s where s.equipment_serial = d.equipment_serial)
			or exists (select from aedpics.inspection_schedules s where s.aed_data_id = d.id))`, s.first)))
		require.Equal(t, 1, b.number(fmt.Sprintf(`select count(*) from aedpics.user_profiles where id = '%s'`, userID(s.Clients-1))))
		require.Equal(t, 1, b.number(fmt.Sprintf(`select count(*) from aedpics.aed_data where id = %d and equipment_serial = '%s'`,
			deviceID(s.first+s.Devices-1), filledSerial(s.first+s.Devices-1))))
	}
	b := setup(t, 3)
	b.exec(`insert into aedpics.aed_data (equipment_serial) values ('x')`)
	require.ErrorContains(t, newStage(harness.Shape{}).fill(b.ctx, b.conn), "try a database as the migrations left it")
}
