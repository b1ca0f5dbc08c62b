package scenarios

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/repair"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/migrations"
)

// repairExplorer explores on the schema of migration 1, with an archive, and a table for the rows as they were when the race began.
func repairExplorer(t *testing.T) *explore.Explorer {
	ctx := context.Background()
	template, err := servertest.Server(t).Template(ctx, func(ctx context.Context, config *pgx.ConnConfig) error {
		if _, err := migrations.Embedded().Apply(ctx, config, 1); err != nil {
			return err
		}
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		_, made := conn.Exec(ctx, `create table at_start (relation text, id uuid, whole jsonb)`)
		return errors.Join(made, repair.Prepare(ctx, conn), conn.Close(ctx))
	})
	require.NoError(t, err)
	e := explore.New(template)
	t.Cleanup(func() {
		require.NoError(t, e.Close(ctx))
		require.NoError(t, template.Drop(ctx))
	})
	return e
}

// repairer is a client that repairs some keys, as one batch of a repair does.
func repairer(name string, rule repair.Rule, keys ...string) harness.Client {
	return harness.Client{Name: name, Operations: []harness.Operation{{
		Kind: "repair " + rule.Invariant,
		Do: func(ctx context.Context, conn *pgx.Conn) harness.Answer {
			groups, err := repair.Batch{Repair: name, Rule: rule, Keys: keys, LockTimeout: -1}.Resolve(ctx, conn)
			answer := harness.Answer{Err: err}
			if err == nil && !slices.ContainsFunc(groups, func(g history.RepairGroup) bool { return len(g.Cancel) > 0 }) {
				answer.Outcome = harness.NotFound
			}
			return answer
		},
	}}}
}

// careless is a rule without its locks: a negative control.
func careless(rule repair.Rule) repair.Rule {
	rule.Lock = `select $1::text[]`
	rule.Read = strings.TrimSuffix(rule.Read, "for update")
	return rule
}

// only are the invariants of a repair: nothing but violators changed, and every change is archived.
func only(relation, violators string) []harness.Invariant {
	return []harness.Invariant{{
		Name: "only violators", Says: "what broke nothing is as it was",
		SQL: `select a.id from at_start a left join ` + relation + ` t on t.id = a.id
			where a.relation = '` + relation + `' and not (a.whole @> any (array[` + violators + `]::jsonb[])) and a.whole is distinct from to_jsonb(t)`,
	}, {
		Name: "archived", Says: "every row that a repair cancelled is archived once, as it was and as it is",
		SQL: `select t.id, count(a.id) from ` + relation + ` t left join interlock_archive.rows a on a.id = t.id
			where t.notes like '%interlock repair%' or a.id is not null
			group by t.id having count(a.id) <> 1 or bool_or(a.after is distinct from to_jsonb(t) or a.before ->> 'status' = 'cancelled')`,
	}}
}

// begun notes the rows as they are when the race begins.
func begun(relation string, start func(context.Context, *pgx.Conn) error, extra string) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, conn *pgx.Conn) error {
		err := start(ctx, conn)
		for _, sql := range []string{
			extra, `set timezone = 'UTC'`, `insert into at_start select '` + relation + `', id, to_jsonb(t) from ` + relation + ` t`, `reset timezone`,
		} {
			if err == nil {
				_, err = conn.Exec(ctx, sql)
			}
		}
		return err
	}
}

// TestRepairBesideOthers is the proof that a repair is safe beside those who open, pause and complete sessions, and beside another repair: it runs
// one order of each class that Postgres can tell apart.
func TestRepairBesideOthers(t *testing.T) {
	// Two sessions of different inspectors are open on AED-1, where a third one was completed; AED-2 is as it should be. The second is the newest.
	sessions := func(other ...SessionsClient) SessionsInput {
		return SessionsInput{
			Devices: []string{"AED-1", "AED-2"},
			Sessions: []StartSession{
				{Inspector: 0, Status: "active"}, {Inspector: 1, Status: "paused"}, {Inspector: 2, Status: "completed"}, {Device: 1, Inspector: 2, Status: "active"},
			},
			Clients: other,
		}
	}
	newest, oldest := sessionRepair(KeepNewest), sessionRepair(KeepOldest)
	keys := []string{"AED-1", "AED-2"}
	sessionRace := func(d Defence, rule repair.Rule, other ...SessionsClient) func() harness.Scenario {
		return func() harness.Scenario {
			in := sessions(other...)
			s := sessionsScenario(d, in)
			s.Start = begun("aedpics.inspection_sessions", in.start,
				`update aedpics.inspection_sessions set started_at = timestamptz '2025-11-10 10:00Z' + right(id::text, 2)::int * interval '1 minute'`)
			s.Clients = append(s.Clients, repairer("repair 1", rule, keys...))
			if len(other) == 0 {
				twin := oldest
				if rule.Lock != newest.Lock {
					twin = careless(twin)
				}
				s.Clients = append(s.Clients, repairer("repair 2", twin, keys...))
			}
			s.Invariants = append(only("aedpics.inspection_sessions", `'{"equipment_serial": "AED-1", "status": "active"}', '{"equipment_serial": "AED-1", "status": "paused"}'`), S1())
			s.Invariants = append(s.Invariants, harness.Invariant{
				Name: "one is kept", Says: "a device that had an open session has one, unless it was completed",
				SQL: `select equipment_serial from aedpics.inspection_sessions group by 1
					having bool_and(status = 'cancelled' or status = 'completed' and id = '5e550000-0000-0000-0000-000000000003')`,
			})
			return s
		}
	}

	base := plainBaseTime
	// Visits every 20 minutes: the second is too close to both others, which are far enough apart.
	visit := func(minutes int, inspector int, status string) StartSchedule {
		return StartSchedule{Inspector: inspector, At: after(minutesOf(minutes)), Status: status}
	}
	visitRace := func(d Defence, rule repair.Rule, other ...SchedulesClient) func() harness.Scenario {
		return func() harness.Scenario {
			in := SchedulesInput{
				Base: base, Devices: []string{"AED-1"}, Clients: other,
				Schedules: []StartSchedule{visit(0, 0, "scheduled"), visit(20, 1, "scheduled"), visit(40, 2, "scheduled"), visit(120, 2, "completed"), visit(180, 2, "scheduled")},
			}
			s := schedulesScenario(d, in, Window)
			s.Start = begun("aedpics.inspection_schedules", in.start,
				`update aedpics.inspection_schedules set created_at = timestamptz '2025-11-10 10:00Z' + right(id::text, 2)::int * interval '1 minute'`)
			s.Clients = append(s.Clients, repairer("repair 1", rule, "1"))
			if len(other) == 0 {
				s.Clients = append(s.Clients, repairer("repair 2", rule, "1"))
			}
			s.Invariants = append(only("aedpics.inspection_schedules", `'{"id": "`+startScheduleID(1)+`"}'`), S2(Window))
			return s
		}
	}
	visits := scheduleRepair(Window)

	careful, production, advisory := defence(t, "rowlock"), defence(t, "none"), defence(t, "advisory")
	for name, c := range map[string]struct {
		build func() harness.Scenario
		broke []string // a negative control: what is to break
	}{
		"another repair":                {build: sessionRace(careful, newest)},
		"a stranger opens, production":  {build: sessionRace(production, newest, sessionsOf(3, Create))},
		"a stranger opens, advisory":    {build: sessionRace(advisory, newest, sessionsOf(3, Create))},
		"the owner opens":               {build: sessionRace(careful, newest, sessionsOf(0, Create))},
		"the owner of the kept opens":   {build: sessionRace(careful, newest, sessionsOf(1, Create))},
		"the loser pauses":              {build: sessionRace(careful, newest, sessionsOf(0, Pause))},
		"the kept one is paused":        {build: sessionRace(careful, newest, sessionsOf(1, Pause))},
		"the kept one is completed":     {build: sessionRace(careful, newest, sessionsOf(1, Complete))},
		"completed, and the next opens": {build: sessionRace(careful, newest, sessionsOf(1, Complete, Create))},

		// The application's own bugs, which only the constraint ends: it resumes and pauses by id, whatever the status (DOMAIN 12).
		"the loser pauses, production": {build: sessionRace(production, newest, sessionsOf(0, Pause)), broke: []string{"S1", "archived"}},
		"the owner opens, production":  {build: sessionRace(production, newest, sessionsOf(0, Create)), broke: []string{"S1", "archived"}},
		// An advisory lock is the application's own, and a repair does not take it: whoever finds his session cancelled behind it opens another one.
		"the owner opens, advisory": {build: sessionRace(advisory, newest, sessionsOf(0, Create)), broke: []string{"S1"}},
		// Without its locks a repair cancels the last open session, or one that was completed meanwhile.
		"careless: another repair":            {build: sessionRace(careful, careless(newest)), broke: []string{"one is kept"}},
		"careless: the kept one is completed": {build: sessionRace(careful, careless(oldest), sessionsOf(1, Complete)), broke: []string{"lost history"}},

		"visits, another repair":         {build: visitRace(careful, visits)},
		"visits, one more, production":   {build: visitRace(production, visits, visits1(3, Create, 20))},
		"visits, one more, advisory":     {build: visitRace(advisory, visits, visits1(3, Create, 15))},
		"visits, the middle one moves":   {build: visitRace(advisory, visits, visits1(1, Reschedule, 80))},
		"visits, the middle one goes":    {build: visitRace(advisory, visits, visits1(1, Cancel, 0))},
		"careless: the middle one moves": {build: visitRace(advisory, careless(visits), visits1(1, Reschedule, 80)), broke: []string{"moved for nothing"}},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.HasPrefix(name, "careless") && !strings.HasSuffix(name, "another repair") && !strings.HasSuffix(name, "opens, production") {
				servertest.Slow(t)
			}
			t.Parallel()
			got, err := repairExplorer(t).Explore(t.Context(), func() harness.Scenario {
				s := c.build()
				s.Invariants = append(s.Invariants, harness.Invariant{
					Name: "lost history", Says: "what was completed stays completed",
					SQL: `select session_id from aedpics.inspections i join aedpics.inspection_sessions s on s.id = i.session_id where s.status <> 'completed'`,
				}, harness.Invariant{
					Name: "moved for nothing", Says: "a visit that broke nothing any more when it was cancelled was not cancelled",
					SQL: `select id from interlock_archive.rows where relation = 'aedpics.inspection_schedules'
						and (before ->> 'scheduled_for')::timestamptz >= timestamptz '` + base + `' + interval '60 minutes'`,
				})
				return s
			}, explore.Config{AtEnd: true})
			require.NoError(t, err)
			require.NoError(t, got.Err)
			require.True(t, got.Complete)
			t.Logf("%d orders, %v, broken %v", got.Executed, got.Outcomes, got.Broken)
			if c.broke == nil {
				require.Empty(t, got.Broken, "%+v", got.First)
				require.Greater(t, got.Executed, 1)
				return
			}
			for _, inv := range c.broke {
				require.Contains(t, got.Broken, inv)
			}
		})
	}
}

func minutesOf(n int) time.Duration { return time.Duration(n) * time.Minute }

// visits1 is a client with one request about a visit so many minutes after the base.
func visits1(inspector int, kind Kind, minutes int) SchedulesClient {
	return SchedulesClient{Inspector: inspector, TimeZone: "UTC", Operations: []ScheduleOperation{{Kind: kind, At: after(minutesOf(minutes))}}}
}
