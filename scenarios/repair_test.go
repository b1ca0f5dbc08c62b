package scenarios

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/repair"
	"github.com/interlock-pg/interlock/migrations"
)

// duplicates opens so many sessions on each of so many devices, AED-1 and on, one minute after another, beside a completed one.
func (b bench) duplicates(devices, sessions int) {
	b.Helper()
	b.exec(`insert into aedpics.aed_data (id, equipment_serial) select n, 'AED-' || n from generate_series(1, $1::int) n`, devices)
	b.exec(`insert into aedpics.user_profiles (id) values ($1)`, userID(0))
	b.exec(`insert into aedpics.inspection_sessions (equipment_serial, inspector_id, status, started_at, notes)
		select 'AED-' || d, $1, (case when s = 0 then 'completed' when s % 2 = 0 then 'paused' else 'active' end)::aedpics.session_status,
			timestamptz '2025-11-10 10:00Z' + s * interval '1 minute', case when s = 1 then 'mine' end
		from generate_series(1, $2::int) d, generate_series(0, $3::int) s`, userID(0), devices, sessions)
}

// rules are those of production's window.
func rules(keep Keep) repair.Config { return repair.Config{Rules: RepairRules(Window, keep)} }

func (b bench) plan(config repair.Config) history.Run {
	b.Helper()
	run, err := repair.Find(b.ctx, config, b.db.Config("repair"))
	require.NoError(b, err)
	return run
}

// repair plans and applies at once.
func (b bench) repair(config repair.Config) history.Run {
	b.Helper()
	run, err := repair.Apply(b.ctx, config, *b.plan(config).Repair, false, b.db.Config("repair"))
	require.NoError(b, err)
	return run
}

// text returns the one value of a query.
func (b bench) text(sql string, args ...any) string {
	b.Helper()
	var text string
	require.NoError(b, b.conn.QueryRow(b.ctx, sql, args...).Scan(&text), sql)
	return text
}

// everything returns a fingerprint of all sessions and visits.
func (b bench) everything() string {
	b.Helper()
	return b.text(`select md5(string_agg(t, '|' order by t)) from (
		select s::text as t from aedpics.inspection_sessions s union all select v::text from aedpics.inspection_schedules v) t`)
}

func states(run history.Run) map[history.RepairState]int {
	of := map[history.RepairState]int{}
	for _, g := range run.Repair.Groups {
		of[g.State]++
	}
	return of
}

// TestRepairMakesWayForTheMigration is what happened in production: 52 devices with duplicates, which the unique index refuses.
func TestRepairMakesWayForTheMigration(t *testing.T) {
	b := setup(t, 1)
	b.duplicates(52, 2)
	b.exec(`insert into aedpics.inspection_sessions (equipment_serial, inspector_id) select 'AED-' || n, $1 from generate_series(1, 3) n`, userID(0))
	_, err := migrations.Embedded().Apply(b.ctx, b.db.Config("migrate"), 2)
	require.ErrorContains(t, err, "23505")
	before := b.everything()

	plan := b.plan(rules(KeepNewest))
	require.Equal(t, history.Violated, plan.Verdict)
	require.Equal(t, map[history.RepairState]int{history.RepairPlanned: 52}, states(plan))
	require.Equal(t, before, b.everything(), "a plan changes nothing")

	run := b.repair(rules(KeepNewest))
	require.Equal(t, history.Held, run.Verdict)
	require.Equal(t, map[history.RepairState]int{history.RepairResolved: 52}, states(run))
	require.Equal(t, "52 completed, 52 open, 55 cancelled", b.text(`select format('%s completed, %s open, %s cancelled', count(*) filter (where status = 'completed'),
		count(*) filter (where status in ('active', 'paused')), count(*) filter (where status = 'cancelled' and cancelled_at is not null and notes ~ $1)) from aedpics.inspection_sessions`,
		"interlock repair "+run.Repair.ID+": session .* of the same device is kept$"))
	require.Equal(t, "55", b.text(`select count(*)::text from interlock_archive.rows a join aedpics.inspection_sessions s using (id)
		where a.repair = $1 and a.after = to_jsonb(s) and a.before ->> 'status' in ('active', 'paused')`, run.Repair.ID))
	require.Equal(t, "mine", b.text(`select distinct split_part(notes, E'\n', 1) from aedpics.inspection_sessions where notes like 'mine%'`), "notes are kept")

	_, err = migrations.Embedded().Apply(b.ctx, b.db.Config("migrate"), 2)
	require.NoError(t, err)
}

func TestKeep(t *testing.T) {
	for keep, want := range map[Keep]string{KeepNewest: "3", KeepOldest: "0", KeepMostProgress: "1", KeepLastAccessed: "2"} {
		t.Run(string(keep), func(t *testing.T) {
			t.Parallel()
			b := setup(t, 1)
			b.duplicates(1, 0)
			b.exec(`insert into aedpics.inspection_sessions (equipment_serial, inspector_id, status, notes, started_at, current_step, last_accessed_at)
				select 'AED-1', $1, 'active', n, timestamptz '2025-11-10 10:00Z' + n * interval '1 hour', case n when 1 then 7 else n end,
					timestamptz '2025-11-11 10:00Z' + case n when 2 then interval '9 hours' else n * interval '1 hour' end
				from generate_series(0, 3) n`, userID(0))
			require.Equal(t, history.Held, b.repair(rules(keep)).Verdict)
			require.Equal(t, want, b.text(`select notes from aedpics.inspection_sessions where status = 'active'`))
		})
	}
}

func TestRepairOfVisits(t *testing.T) {
	type visit struct {
		minutes int // after the base
		created int // its place in the order of planning
		status  string
	}
	for name, c := range map[string]struct {
		visits []visit
		keep   []int // the places of those that stay
		groups int
		stuck  bool
	}{
		"none too close":          {visits: []visit{{0, 0, "scheduled"}, {30, 1, "scheduled"}}, keep: []int{0, 1}},
		"a pair":                  {visits: []visit{{10, 0, "scheduled"}, {0, 1, "scheduled"}}, keep: []int{0}, groups: 1},
		"a chain, the ends first": {visits: []visit{{0, 0, "scheduled"}, {20, 2, "scheduled"}, {40, 1, "scheduled"}}, keep: []int{0, 2}, groups: 1},
		"a chain, the middle":     {visits: []visit{{0, 2, "scheduled"}, {20, 0, "scheduled"}, {40, 1, "scheduled"}}, keep: []int{1}, groups: 1},
		"a long chain": {
			visits: []visit{{0, 0, "scheduled"}, {20, 1, "scheduled"}, {40, 2, "scheduled"}, {60, 3, "in_progress"}, {80, 4, "scheduled"}}, keep: []int{0, 2, 4}, groups: 1,
		},
		"two groups":        {visits: []visit{{0, 0, "scheduled"}, {1, 1, "scheduled"}, {60, 1, "scheduled"}, {61, 0, "scheduled"}}, keep: []int{0, 3}, groups: 2},
		"completed stays":   {visits: []visit{{0, 0, "scheduled"}, {10, 1, "completed"}}, keep: []int{1}, groups: 1},
		"cancelled is none": {visits: []visit{{0, 0, "scheduled"}, {10, 1, "cancelled"}}, keep: []int{0}},
		"history conflicts": {visits: []visit{{0, 0, "scheduled"}, {10, 1, "completed"}, {20, 2, "completed"}}, keep: []int{1, 2}, groups: 1, stuck: true},
		"the same time":     {visits: []visit{{0, 2, "scheduled"}, {0, 1, "scheduled"}, {0, 0, "scheduled"}}, keep: []int{2}, groups: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, 1)
			b.duplicates(2, 0)
			for i, v := range c.visits {
				b.exec(`insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for, created_at, status, notes)
					values (1, '', timestamptz '2025-11-10 10:00Z' + $1 * interval '1 minute', timestamptz '2025-11-01 10:00Z' + $2 * interval '1 minute', $3, $4)`,
					v.minutes, v.created, v.status, fmt.Sprint(i))
			}
			b.exec(`insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for) values
				(1, '', null), (1, '', 'infinity'), (1, '', 'infinity'), (null, '', '2025-11-10 10:00Z'), (2, '', '2025-11-10 10:00Z')`)
			run := b.repair(rules(KeepNewest))
			require.Len(t, run.Repair.Groups, c.groups)
			rows, err := S2(Window).Offending(b.ctx, b.conn)
			require.NoError(t, err)
			require.Equal(t, c.stuck, rows.Total > 0)
			require.Equal(t, c.stuck, states(run)[history.RepairStuck] > 0)
			require.Equal(t, c.stuck, run.Verdict == history.Violated)
			require.Equal(t, fmt.Sprint(c.keep), b.text(`select format('[%s]', string_agg(notes, ' ' order by notes)) from aedpics.inspection_schedules
				where aed_data_id = 1 and status <> 'cancelled' and notes is not null`))
			require.Equal(t, "5", b.text(`select count(*)::text from aedpics.inspection_schedules where status <> 'cancelled' and notes is null`))
		})
	}
}

// TestRepairOfManyVisits compares what is left of random visits with the rule: nothing in it is too close, and whatever was cancelled is too close to
// something that was planned before it, or is history.
func TestRepairOfManyVisits(t *testing.T) {
	b := setup(t, 1)
	b.duplicates(200, 0)
	random := rand.New(rand.NewPCG(7341, 0))
	for device := 1; device <= 200; device++ {
		for range random.IntN(12) {
			b.exec(`insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for, created_at)
				values ($1, '', timestamptz '2025-11-10 10:00Z' + $2 * interval '5 minutes', timestamptz '2025-11-01 10:00Z' + $3 * interval '1 minute')`,
				device, random.IntN(50), random.IntN(1_000_000))
		}
	}
	// One that is completed in the middle of each device's.
	b.exec(`insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for, status) select id, '', '2025-11-10 12:00Z', 'completed' from aedpics.aed_data`)
	config := rules(KeepNewest)
	config.Batch = 7
	run := b.repair(config)
	require.Equal(t, history.Held, run.Verdict)
	require.NotContains(t, states(run), history.RepairStuck)
	require.Equal(t, "0", b.text(`select count(*)::text from aedpics.inspection_schedules c where c.status = 'cancelled' and not exists (
		select from aedpics.inspection_schedules k where k.aed_data_id = c.aed_data_id and k.status <> 'cancelled'
			and abs(extract(epoch from k.scheduled_for - c.scheduled_for)) < 1800 and (k.status = 'completed' or k.created_at <= c.created_at))`))
	require.Equal(t, "200", b.text(`select count(*)::text from aedpics.inspection_schedules where status = 'completed' and scheduled_for = '2025-11-10 12:00Z'`))
}

func TestUndo(t *testing.T) {
	b := setup(t, 1)
	b.duplicates(4, 3)
	b.exec(`insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for) select 1, 'AED-1', timestamptz '2025-11-10 10:00Z' + n * interval '10 minutes' from generate_series(0, 1) n`)
	before := b.everything()
	run := b.repair(rules(KeepNewest))
	require.NotEqual(t, before, b.everything())

	undo := func(id string) *history.Undone {
		t.Helper()
		config := rules(KeepNewest)
		config.Batch = 2
		back, err := repair.Undo(b.ctx, config, id, b.db.Config("repair"))
		require.NoError(t, err)
		require.Equal(t, len(back.Repair.Undone.Kept) == 0, back.Verdict == history.Held)
		return back.Repair.Undone
	}
	require.Equal(t, history.Undone{Restored: 9}, *undo(run.Repair.ID))
	require.Equal(t, before, b.everything(), "all is as it was")
	require.Equal(t, history.Undone{}, *undo(run.Repair.ID), "the second time there is nothing to restore")

	run = b.repair(rules(KeepNewest))
	changed := run.Repair.Groups[0].Cancel[0].ID
	b.exec(`update aedpics.inspection_sessions set notes = 'seen' where id = $1`, changed)
	gone := run.Repair.Groups[1].Cancel[0].ID
	b.exec(`delete from aedpics.inspection_sessions where id = $1`, gone)
	left := undo(run.Repair.ID)
	require.Equal(t, 7, left.Restored)
	var ids []string
	for _, row := range left.Kept {
		ids = append(ids, row.ID)
		require.Contains(t, row.Why, "changed since")
	}
	require.ElementsMatch(t, []string{changed, gone}, ids)
	require.Equal(t, "seen", b.text(`select notes from aedpics.inspection_sessions where id = $1`, changed))

	// Where the index stands by now, it says what may come back: the session of a device on which none is open any more.
	b.exec(`delete from aedpics.inspection_sessions`)
	b.exec(`delete from aedpics.inspection_schedules`)
	b.exec(`insert into aedpics.inspection_sessions (equipment_serial, inspector_id, started_at) select 'AED-' || d, $1, timestamptz '2025-11-10 10:00Z' + o * interval '1 hour'
		from generate_series(1, 3) d, generate_series(1, 2) o`, userID(0))
	run = b.repair(rules(KeepNewest))
	_, err := migrations.Embedded().Apply(b.ctx, b.db.Config("migrate"), 2)
	require.NoError(t, err)
	b.exec(`update aedpics.inspection_sessions set status = 'completed' where equipment_serial = 'AED-2' and status = 'active'`)
	left = undo(run.Repair.ID)
	require.Equal(t, 1, left.Restored)
	require.Len(t, left.Kept, 2)
	require.Contains(t, left.Kept[0].Why, "idx_inspection_sessions_active_session_per_equipment does not let it come back")

	_, err = repair.Undo(b.ctx, rules(KeepNewest), "20200101-000000-000000", b.db.Config("repair"))
	require.ErrorContains(t, err, "there is no repair")
}

func TestAStalePlan(t *testing.T) {
	b := setup(t, 1)
	b.duplicates(5, 2)
	plan := b.plan(rules(KeepNewest))
	group := func(serial string) history.RepairGroup {
		return plan.Repair.Groups[slices.IndexFunc(plan.Repair.Groups, func(g history.RepairGroup) bool { return g.Key == serial })]
	}
	b.exec(`update aedpics.inspection_sessions set current_step = 1 where id = $1`, group("AED-1").Keep[0].ID)         // another version
	b.exec(`insert into aedpics.inspection_sessions (equipment_serial, inspector_id) values ('AED-2', $1)`, userID(0)) // one more
	b.exec(`update aedpics.inspection_sessions set status = 'completed' where id = $1`, group("AED-3").Keep[0].ID)     // no longer broken
	b.exec(`insert into aedpics.aed_data (id, equipment_serial) values (9, 'AED-9')`)                                  // broken, and not in the plan
	b.exec(`insert into aedpics.inspection_sessions (equipment_serial, inspector_id) select 'AED-9', $1 from generate_series(1, 2)`, userID(0))
	run, err := repair.Apply(b.ctx, rules(KeepNewest), *plan.Repair, true, b.db.Config("repair"))
	require.NoError(t, err)
	state := map[string]history.RepairState{}
	for _, g := range run.Repair.Groups {
		state[g.Key] = g.State
	}
	require.Equal(t, map[string]history.RepairState{
		"AED-1": history.RepairChanged, "AED-2": history.RepairChanged, "AED-3": history.RepairGone, "AED-4": history.RepairResolved, "AED-5": history.RepairResolved,
	}, state)
	require.Equal(t, 3, run.Repair.Left)
	require.Equal(t, history.Violated, run.Verdict)
	require.Equal(t, "2", b.text(`select count(*)::text from aedpics.inspection_sessions where status = 'cancelled'`))
}

func TestInterruptedAndRunAgain(t *testing.T) {
	b := setup(t, 1)
	b.duplicates(30, 2)
	ctx, cancel := context.WithCancel(b.ctx)
	config := rules(KeepNewest)
	config.Batch = 10
	config.Progress = func(done, total int, _ string) {
		require.Equal(t, 30, total)
		if done == 20 {
			cancel()
		}
	}
	plan := *b.plan(config).Repair
	run, err := repair.Apply(ctx, config, plan, true, b.db.Config("repair"))
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, history.Unknown, run.Verdict)
	require.Equal(t, map[history.RepairState]int{history.RepairResolved: 20}, states(run), "whole batches")
	const cancelled = `select format('%s cancelled, %s archived', (select count(*) from aedpics.inspection_sessions where status = 'cancelled'), (select count(*) from interlock_archive.rows))`
	require.Equal(t, "20 cancelled, 20 archived", b.text(cancelled))

	config.Progress = nil
	run, err = repair.Apply(b.ctx, config, plan, true, b.db.Config("repair"))
	require.NoError(t, err)
	require.Equal(t, history.Held, run.Verdict)
	require.Equal(t, map[history.RepairState]int{history.RepairGone: 20, history.RepairResolved: 10}, states(run))
	require.Equal(t, "30 cancelled, 30 archived", b.text(cancelled))
	after := b.everything()
	require.Empty(t, b.repair(config).Repair.Groups)
	require.Equal(t, after, b.everything(), "there is nothing left to do")
}

// TestRepairWhileTheApplicationWrites has clients open, pause and complete sessions of the devices that are being repaired, by two repairs at once.
func TestRepairWhileTheApplicationWrites(t *testing.T) {
	b := setup(t, 1)
	const devices = 100
	b.duplicates(devices, 3)
	b.exec(`create table begun as select id, to_jsonb(s) as whole from aedpics.inspection_sessions s where status = 'completed'`)
	var open []string
	rows, err := b.conn.Query(b.ctx, `select id::text from aedpics.inspection_sessions where status <> 'completed' order by id`)
	require.NoError(t, err)
	open, err = pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)

	var clients, repairs sync.WaitGroup
	done := make(chan struct{})
	d := defence(t, "rowlock")
	told := make([]map[harness.Outcome]int, 3)
	for i := range told {
		conn, random := b.connect(fmt.Sprint("client ", i)), rand.New(rand.NewPCG(uint64(i), 0))
		told[i] = map[harness.Outcome]int{}
		clients.Go(func() {
			did := func() int { return told[i][harness.Done] + told[i][harness.Resumed] + told[i][harness.Created] }
			for {
				select {
				case <-done:
					if did() > 0 { // on a busy machine, the repairs may be over before
						return
					}
				default:
				}
				a := &sessionActor{d: d, inspector: userID(0), jitter: newJitter(i)}
				var answer harness.Answer
				if i == 0 {
					answer = a.create(b.ctx, conn, fmt.Sprint("AED-", 1+random.IntN(devices)))
				} else {
					id := open[random.IntN(len(open))]
					answer = d.transact(b.ctx, conn, a.jitter, device{}, func(ctx context.Context, tx pgx.Tx) (harness.Answer, error) {
						return a.change(ctx, tx, map[int]Kind{1: Pause, 2: Complete}[i], id)
					})
				}
				told[i][answer.Resolve().Outcome]++
			}
		})
	}
	errs := make([]error, 2)
	for i, keep := range []Keep{KeepNewest, KeepOldest} {
		repairs.Go(func() {
			config := rules(keep)
			config.Batch = 9
			plan, err := repair.Find(b.ctx, config, b.db.Config("repair"))
			if err == nil {
				_, err = repair.Apply(b.ctx, config, *plan.Repair, false, b.db.Config("repair"))
			}
			errs[i] = err
		})
	}
	repairs.Wait()
	close(done)
	clients.Wait()
	require.NoError(t, errors.Join(errs...))
	t.Log(told)
	for i := range told {
		require.Zero(t, told[i][harness.Failed], "client %d", i)
	}
	left, err := S1().Offending(b.ctx, b.conn)
	require.NoError(t, err)
	require.Zero(t, left.Total)
	require.Equal(t, "0", b.text(`select count(*)::text from begun left join aedpics.inspection_sessions s using (id) where whole is distinct from to_jsonb(s)`), "history")
	require.Equal(t, "0", b.text(`select count(*)::text from aedpics.inspection_sessions s left join interlock_archive.rows a using (id)
		where (s.status = 'cancelled') <> (a.id is not null) or a.id is not null and (a.after <> to_jsonb(s) or a.before ->> 'status' not in ('active', 'paused'))`), "archive")
}

// TestNothingWithoutTheArchive has a batch fail at its end: nothing of it is left.
func TestNothingWithoutTheArchive(t *testing.T) {
	b := setup(t, 1)
	b.duplicates(3, 2)
	config := rules(KeepNewest)
	require.NoError(t, repair.Prepare(b.ctx, b.conn))
	b.exec(`alter table interlock_archive.rows add check (key <> 'AED-3')`)
	before := b.everything()
	_, err := repair.Apply(b.ctx, config, *b.plan(config).Repair, false, b.db.Config("repair"))
	require.ErrorContains(t, err, "23514")
	require.Equal(t, before, b.everything())

	b.exec(`alter table interlock_archive.rows drop constraint rows_key_check`)
	b.exec(`create function no() returns trigger language plpgsql as 'begin return case when old.equipment_serial = ''AED-2'' then null else new end; end'`)
	b.exec(`create trigger no before update on aedpics.inspection_sessions for each row execute function no()`)
	_, err = repair.Apply(b.ctx, config, *b.plan(config).Repair, false, b.db.Config("repair"))
	require.ErrorContains(t, err, "2 of 3 rows could be changed")
	require.Equal(t, before, b.everything())
}

// TestABusyGroupIsLeftAlone has somebody hold one of many devices: the others are repaired all the same.
func TestABusyGroupIsLeftAlone(t *testing.T) {
	b := setup(t, 1)
	b.duplicates(8, 2)
	tx, err := b.conn.Begin(b.ctx)
	require.NoError(t, err)
	_, err = tx.Exec(b.ctx, `select from aedpics.inspection_sessions where equipment_serial = 'AED-3' for update`)
	require.NoError(t, err)
	config := rules(KeepNewest)
	config.LockTimeout = 20 * time.Millisecond
	run := b.repair(config)
	require.NoError(t, tx.Rollback(b.ctx))
	require.Equal(t, map[history.RepairState]int{history.RepairResolved: 7, history.RepairBusy: 1}, states(run))
	require.Equal(t, 1, run.Repair.Left)
	require.Equal(t, history.Held, b.repair(config).Verdict)
}
