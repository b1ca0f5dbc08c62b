package explore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/arena"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/wire"
)

// survey finds out what the statements of one scenario touch, in a database of its own. Its methods are safe for concurrent use.
type survey struct {
	build   func() race.Scenario
	catalog catalog
	watch   [][]string // the tables that each invariant reads which is looked at after commits

	settings []string // of each client: with another search_path, the same text is about other tables

	mu    sync.Mutex
	arena *arena.Arena
	hang  time.Duration
	locks locks
	texts map[string]facts
	kept  map[string]facts // beyond this search
}

// facts are what is known of the statements with one text.
type facts struct {
	touched sched.Footprint // whatever the rows
	others  []string        // tables that it may touch beside, depending on the rows
	keys    bool            // it may use advisory locks
	whole   bool            // it may touch anything beside: it counts as having touched all that its transaction has
	unseen  sched.Footprint // what it may have touched when it has failed, and locks do not show it any more
	blind   bool
	looks   bool
}

// vary reports whether the locks of a transaction have to be looked at when the statement has been answered.
func (f facts) vary() bool { return f.whole || f.keys || len(f.others) > 0 }

// of returns what the statement has touched, given what its transaction has locked by now and had touched before.
func (f facts) of(now, before sched.Footprint) sched.Footprint {
	if f.whole {
		return f.touched.Join(now)
	}
	maps.DeleteFunc(now.Relations, func(table string, _ sched.Modes) bool { return !slices.Contains(f.others, table) })
	now.Keys = slices.DeleteFunc(now.Keys, func(key string) bool { return !f.keys || slices.Contains(before.Keys, key) })
	return f.touched.Join(now)
}

func newSurvey(ctx context.Context, build func() race.Scenario, hang time.Duration, e *Explorer) (*survey, error) {
	s := &survey{
		build: build, catalog: *e.catalog, arena: e.survey.arena, hang: hang, locks: e.survey.locks, texts: map[string]facts{}, kept: e.texts,
	}
	for _, c := range build().Clients {
		s.settings = append(s.settings, fmt.Sprint(c.Settings))
	}
	return s, s.readInvariants(ctx)
}

// readInvariants finds out which tables the invariants read.
func (s *survey) readInvariants(ctx context.Context) error {
	conn := s.arena.Control
	for _, inv := range s.build().Invariants {
		if inv.Outcomes {
			continue
		}
		if _, err := conn.Exec(ctx, `begin`); err != nil {
			return fmt.Errorf("invariant %s: %w", inv.Name, err)
		}
		_, err := inv.Offending(ctx, conn)
		touched, lookErr := s.locks.held(ctx, conn.PgConn().PID())
		_, endErr := conn.Exec(ctx, `rollback`)
		if err := errors.Join(err, lookErr, endErr); err != nil {
			return err
		}
		var tables []string
		for table := range touched.Relations {
			tables = append(tables, table)
		}
		slices.Sort(tables)
		s.watch = append(s.watch, tables)
	}
	return nil
}

// of returns what is known of a statement that a client is about to execute, having executed those before.
func (s *survey) of(ctx context.Context, client int, before []wire.Step, step wire.Step, known traits) (facts, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.settings[client] + step.SQL
	if known.advisory { // the keys come with the parameters
		text += fmt.Sprint(step.Parameters)
	}
	for _, texts := range []map[string]facts{s.texts, s.kept} {
		if f, ok := texts[text]; ok {
			return f, nil
		}
	}
	short, cancel := context.WithTimeoutCause(ctx, s.hang, fmt.Errorf("%w for %v", errHangs, s.hang))
	defer cancel()
	t, err := s.try(short, client, before, step)
	if err != nil {
		if short.Err() != nil {
			err = context.Cause(short)
		}
		return facts{}, fmt.Errorf("finding out what %q touches: %w", brief(step.SQL), err)
	}
	f := s.judge(step.SQL, known, t)
	s.texts[text] = f
	if t.plans && !f.keys && len(s.kept) < mostTexts {
		s.kept[text] = f
	}
	return f, nil
}

// mostTexts is for how many texts facts are kept: clients may put their values into the text.
const mostTexts = 10_000

// judge says what is known of a statement that was tried.
func (s *survey) judge(sql string, known traits, t trial) facts {
	f := facts{touched: t.planned.Join(t.touched), keys: known.advisory, looks: known.looks}
	runsCode := s.catalog.runsCode(sql, f.touched)
	if t.plans {
		f.others = s.catalog.others(t.planned)
	}
	if t.plans && (runsCode || len(f.others) > 0) { // what it did beside depends on the rows, and so on what the client had done before
		f.touched = sched.Footprint{Relations: t.planned.Relations, Keys: t.touched.Keys}
	}
	code := s.catalog.code
	switch {
	case runs.MatchString(sql) || !t.plans && !t.complete: // for all that we know
		f.whole, f.looks, f.unseen = true, true, s.catalog.all
	case runsCode:
		f.whole, f.looks, f.unseen = true, f.looks || code.looks, code.touches
		if code.catches {
			f.touched = f.touched.Join(code.touches)
		}
	}
	f.blind = s.catalog.blind(sql, t.planned)
	return f
}

// trial is what became of a statement that was executed in a transaction of its own.
type trial struct {
	plans    bool            // it has a plan, which names all that it touches whatever the rows, but for what it does to other tables by constraints and code
	planned  sched.Footprint // what was locked when it had been parsed
	touched  sched.Footprint // and when it had been executed
	complete bool            // it did not fail
}

// try executes a statement in a transaction of its own, after those that the client has executed before.
func (s *survey) try(ctx context.Context, client int, before []wire.Step, step wire.Step) (t trial, err error) {
	scenario := s.build()
	if err := s.arena.Prepare(ctx, scenario); err != nil {
		return t, err
	}
	conns, err := s.arena.Seats(ctx, scenario.Clients)
	if err != nil {
		return t, err
	}
	only := scenario.Clients[client : client+1]
	conn := conns[client]
	if err := arena.Ready(ctx, only, conns[client:]); err != nil {
		return t, err
	}
	pc := conn.PgConn()
	if err := exec(ctx, pc, `commit`); err != nil { // what a client has prepared; a warning, if there is no transaction
		return t, err
	}
	for _, earlier := range before {
		_ = send(ctx, pc, earlier) // it may fail here, though it did not there, or there as well
		if pc.TxStatus() != 'I' {
			_ = exec(ctx, pc, `rollback`)
		}
	}
	defer func() {
		if !conn.IsClosed() {
			_ = exec(ctx, pc, `rollback`)
			_ = exec(ctx, pc, `select pg_advisory_unlock_all()`)
			_ = arena.Finish(ctx, only, conns[client:])
		}
	}()
	if step.Kind == wire.Whole || step.Statements > 1 {
		return t, nil
	}
	if err := exec(ctx, pc, `begin`); err != nil {
		return t, err
	}
	described, err := pc.Prepare(ctx, "", step.SQL, types(step))
	if err != nil {
		return t, dead(pc, err)
	}
	if t.planned, err = s.locks.held(ctx, pc.PID()); err != nil {
		return t, err
	}
	t.plans = len(t.planned.Relations)+len(described.Fields) > 0
	if err := send(ctx, pc, step); err != nil {
		return t, dead(pc, err)
	}
	t.complete = true
	t.touched, err = s.locks.held(ctx, pc.PID())
	return t, err
}

// dead returns the error if the connection is lost: only then it matters.
func dead(pc *pgconn.PgConn, err error) error {
	if pc.IsClosed() {
		return err
	}
	return nil
}

func exec(ctx context.Context, pc *pgconn.PgConn, sql string) error {
	_, err := pc.Exec(ctx, sql).ReadAll()
	return err
}

// send sends a statement as the client did, or as good as.
func send(ctx context.Context, pc *pgconn.PgConn, step wire.Step) error {
	if len(step.Parameters) == 0 {
		return exec(ctx, pc, step.SQL)
	}
	values := make([][]byte, len(step.Parameters))
	formats := make([]int16, len(step.Parameters))
	for i, p := range step.Parameters {
		switch {
		case p.Null:
		case p.Binary != nil:
			values[i], formats[i] = p.Binary, pgx.BinaryFormatCode
		default:
			values[i] = []byte(p.Text)
		}
	}
	return pc.ExecParams(ctx, step.SQL, values, types(step), formats, nil).Read().Err
}

func types(step wire.Step) []uint32 {
	oids := make([]uint32, len(step.Parameters))
	for i, p := range step.Parameters {
		oids[i] = p.Type
	}
	return oids
}

// brief returns SQL on one line, not too long.
func brief(sql string) string {
	line := strings.Join(strings.Fields(sql), " ")
	if runes := []rune(line); len(runes) > 80 {
		line = string(runes[:79]) + "…"
	}
	return line
}
