package explore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

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

	mu    sync.Mutex
	arena *arena.Arena
	locks locks
	texts map[string]facts
	seen  map[glance]sched.Footprint
}

// facts are what is known of the statements with one text.
type facts struct {
	touched sched.Footprint
	whole   bool // it counts as having touched all that its transaction has
	blind   bool
	looks   bool
}

// glance is one way that one step can turn out. It is looked at once.
type glance struct {
	client, index int
	text, tag     string
}

func newSurvey(ctx context.Context, build func() race.Scenario, a *arena.Arena, l locks) (*survey, error) {
	s := &survey{build: build, arena: a, locks: l, texts: map[string]facts{}, seen: map[glance]sched.Footprint{}}
	var err error
	if s.catalog, err = readCatalog(ctx, a.Control); err != nil {
		return nil, err
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
func (s *survey) of(ctx context.Context, client int, before []wire.Step, step wire.Step) (facts, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := step.SQL
	if advisory.MatchString(text) { // the keys come with the parameters
		text = fmt.Sprint(step.SQL, step.Parameters)
	}
	if known, ok := s.texts[text]; ok {
		return known, nil
	}
	f := facts{looks: looks.MatchString(step.SQL)}
	touched, complete, err := s.execute(ctx, client, before, step)
	if err != nil {
		return f, fmt.Errorf("finding out what %q touches: %w", brief(step.SQL), err)
	}
	f.touched = touched
	f.whole = !complete || s.catalog.opaque(step.SQL, touched)
	f.blind = complete && s.catalog.blind(step.SQL, touched)
	if f.whole && s.catalog.functions != nil {
		f.looks = true // for all that we know
	}
	s.texts[text] = f
	return f, nil
}

// execute executes a statement in a transaction of its own, after those that the client has executed before, and returns what it touched; false:
// as far as it is known, for it failed here.
func (s *survey) execute(ctx context.Context, client int, before []wire.Step, step wire.Step) (sched.Footprint, bool, error) {
	none := sched.Footprint{}
	scenario := s.build()
	if err := s.arena.Prepare(ctx, scenario); err != nil {
		return none, false, err
	}
	conns, err := s.arena.Seats(ctx, scenario.Clients)
	if err != nil {
		return none, false, err
	}
	only := scenario.Clients[client : client+1]
	conn := conns[client]
	if err := arena.Ready(ctx, only, conns[client:]); err != nil {
		return none, false, err
	}
	pc := conn.PgConn()
	if err := exec(ctx, pc, `commit`); err != nil { // what a client has prepared; a warning, if there is no transaction
		return none, false, err
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
		}
	}()
	if step.Kind == wire.Whole || step.Statements > 1 {
		return none, false, nil
	}
	if err := exec(ctx, pc, `begin`); err != nil {
		return none, false, err
	}
	if _, err := pc.Prepare(ctx, "", step.SQL, types(step)); err != nil {
		return none, false, dead(pc, err)
	}
	planned, err := s.locks.held(ctx, pc.PID())
	if err != nil {
		return none, false, err
	}
	if err := send(ctx, pc, step); err != nil {
		return planned, false, dead(pc, err)
	}
	touched, err := s.locks.held(ctx, pc.PID())
	return planned.Join(touched), true, err
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

// recall returns what was seen to be touched when a step turned out like this before.
func (s *survey) recall(g glance) (sched.Footprint, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	print, ok := s.seen[g]
	return print, ok
}

// remember keeps what was seen, and returns what is kept: what was seen first stays.
func (s *survey) remember(g glance, print sched.Footprint) sched.Footprint {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.seen[g]; ok {
		return known
	}
	s.seen[g] = print
	return print
}

// brief returns SQL on one line, not too long.
func brief(sql string) string {
	line := strings.Join(strings.Fields(sql), " ")
	if runes := []rune(line); len(runes) > 80 {
		line = string(runes[:79]) + "…"
	}
	return line
}

// minus returns what a touched and b did not.
func minus(a, b sched.Footprint) sched.Footprint {
	var rest sched.Footprint
	for table, modes := range a.Relations {
		if more := modes &^ b.Relations[table]; more != 0 {
			if rest.Relations == nil {
				rest.Relations = map[string]sched.Modes{}
			}
			rest.Relations[table] = more
		}
	}
	for _, key := range a.Keys {
		if !slices.Contains(b.Keys, key) {
			rest.Keys = append(rest.Keys, key)
		}
	}
	return rest
}
