package sched_test

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/interlock-pg/interlock/harness/sched"
)

// A toy Postgres, in memory and pure: MVCC at READ COMMITTED and REPEATABLE READ, row locks in four strengths, table locks with their queue,
// unique indexes, foreign keys, advisory locks, savepoints, deadlocks. It executes programs step by step, in the order that it is told, and
// shows of each step what pg_locks would. It shares no code and no idea of dependency with what it tests.

// op is one thing that a client does. Key 0 means all rows.
type op struct {
	do    string // what, see world.body
	table string
	key   int
	value int
	mode  sched.Modes
	how   string // nowait, skip
}

// texts has what op.String returned.
var texts sync.Map

func (o op) String() string {
	if text, ok := texts.Load(o); ok {
		return text.(string)
	}
	text := strings.TrimSpace(fmt.Sprintf("%s %s %d %d %s %s", o.do, o.table, o.key, o.value, o.mode, o.how))
	texts.Store(o, text)
	return text
}

type actor struct {
	level sched.Level
	auto  bool // every operation is a transaction of its own
	ops   []op
}

func (a actor) String() string { return fmt.Sprintf("{%s auto=%v %v}", a.level, a.auto, a.ops) }

type program struct {
	rows    map[string][][2]int // by table: key and value
	unique  map[string]bool     // tables with a unique key
	foreign map[string]string   // child (its value refers) → parent (its key)
	later   bool                // foreign keys are deferred
	actors  []actor
}

type row struct {
	key, uid int
	versions []version
	locks    map[*txn]strength
}

type version struct {
	value int
	gone  bool
	by    *txn
}

func (p program) String() string {
	return fmt.Sprintf("%v %v %v %v %v", p.rows, p.unique, p.foreign, p.later, p.actors)
}

// strength of a row lock: for key share, for share, for no key update, for update.
type strength int

const (
	keyShare strength = iota + 1
	share
	noKeyUpdate
	update
)

func (s strength) conflicts(o strength) bool { return s+o > 4 && (s != share || o != share) }

type table struct {
	rows  []*row
	locks map[*txn]sched.Modes
	queue []*waiter
	cut   *txn   // the last to truncate it
	was   []*row // before that
}

type txn struct {
	client   int
	level    sched.Level
	live     bool
	commit   int // when; 0: not committed
	snapshot int // -1: none yet
	undo     []func()
	save     int // length of undo at the savepoint; -1: none
	failed   bool
	checks   []func(*statement) string
	ssi
}

// fixed: one snapshot for the whole transaction.
func (t *txn) fixed() bool { return t.level == sched.RepeatableRead || t.level == sched.Serializable }

// statement is one step that has been released.
type statement struct {
	step    sched.Step
	op      op
	tx      *txn
	at      int // its snapshot
	touched sched.Footprint
	yield   func(*waiter) bool
	resume  func() (*waiter, bool)
	stop    func()
	result  string
	code    string
	wait    *waiter
}

// waiter is one wait: it is over when nobody blocks it.
type waiter struct {
	by      *txn
	mode    sched.Modes
	blocked func() []*txn
}

type client struct {
	actor
	index  int // of the next step
	next   int // of the next operation
	tx     *txn
	commit bool // the next step is the commit of an autocommit statement
	said   []string
}

type world struct {
	program
	tables   map[string]*table
	advisory map[int]*txn
	clients  []*client
	waiting  []*statement // in the order in which they began to wait
	clock    int
	uids     int
	serial   []*txn // the serializable transactions of the run
}

func newWorld(p program) *world {
	w := &world{program: p, tables: map[string]*table{}, advisory: map[int]*txn{}, clock: 1}
	start := &txn{commit: 1}
	for _, name := range []string{"a", "b", "c", "d", "p"} {
		w.tables[name] = &table{locks: map[*txn]sched.Modes{}}
		for _, kv := range p.rows[name] {
			w.uids++
			w.tables[name].rows = append(w.tables[name].rows, &row{kv[0], w.uids, []version{{kv[1], false, start}}, map[*txn]strength{}})
		}
	}
	for _, a := range p.actors {
		w.clients = append(w.clients, &client{actor: a})
	}
	return w
}

// current returns the operation that the client is at, after passing what is no step; false: it has ended.
func (w *world) current(c *client) (op, bool) {
	if c.commit {
		return op{do: "commit"}, true
	}
	for c.next < len(c.ops) {
		o := c.ops[c.next]
		failed := c.tx != nil && c.tx.failed
		switch {
		case o.do == "rollback to" && (c.tx == nil || c.tx.save < 0):
		case failed && o.do == "rollback to":
			return o, true
		case failed && c.next == len(c.ops)-1:
			return op{do: "rollback"}, true
		case failed:
		case o.do == "savepoint":
			w.begin(c)
			c.tx.save = len(c.tx.undo)
		default:
			return o, true
		}
		c.next++
	}
	return op{}, false
}

func (w *world) begin(c *client) {
	if c.tx == nil {
		c.tx = &txn{client: slices.Index(w.clients, c), level: c.level, live: true, snapshot: -1, save: -1}
	}
}

func (w *world) step(i int) (sched.Step, bool) {
	c := w.clients[i]
	o, ok := w.current(c)
	if !ok || slices.ContainsFunc(w.waiting, func(s *statement) bool { return s.tx.client == i }) {
		return sched.Step{}, false
	}
	s := sched.Step{Client: i, Index: c.index, Kind: sched.Statement, Text: o.String(), Level: c.level, Autocommit: c.auto}
	switch o.do {
	case "commit":
		s.Kind = sched.Commit
	case "rollback":
		s.Kind = sched.Rollback
	case "rollback to":
		s.Kind = sched.RollbackTo
	}
	s.Savepoint = c.tx != nil && c.tx.save >= 0
	s.Blind = o.do == "insert" && !w.unique[o.table]
	s.Looks = o.how != "" || o.do == "try" || o.do == "insert if try" || o.do == "insert or nothing"
	s.Bare = o.do == "lock"
	s.Advisory = o.do == "try" || o.do == "insert if try" || o.do == "advisory"
	return s, true
}

// held returns the step that each client which can run is held at.
func (w *world) held() []sched.Step {
	var held []sched.Step
	for i := range w.clients {
		if s, ok := w.step(i); ok {
			held = append(held, s)
		}
	}
	return held
}

// release lets a client take its step and returns what came of it.
func (w *world) release(i int) sched.Event {
	step, _ := w.step(i)
	c := w.clients[i]
	o, _ := w.current(c)
	w.begin(c)
	c.index++
	s := &statement{step: step, op: o, tx: c.tx}
	s.resume, s.stop = iter.Pull(func(yield func(*waiter) bool) {
		s.yield = yield
		s.result, s.code = w.run(s)
	})
	var e sched.Event
	w.goOn(s, &e)
	for again := true; again; {
		again = false
		for _, s := range w.waiting {
			if len(s.wait.blocked()) == 0 {
				w.waiting = slices.DeleteFunc(w.waiting, func(o *statement) bool { return o == s })
				w.goOn(s, &e)
				again = true
				break
			}
		}
	}
	return e
}

func (w *world) goOn(s *statement, e *sched.Event) {
	c := w.clients[s.tx.client]
	p := sched.Part{Step: s.step}
	if s.op.table != "" { // what a statement locks before it is executed a driver finds out beforehand; a failure does not hide it
		p.Touched.Relations = map[string]sched.Modes{s.op.table: explained(s.op)}
	}
	if wait, more := s.resume(); more {
		s.wait = wait
		p.Outcome, p.Touched = sched.Waits, p.Touched.Join(s.touched)
		for _, b := range wait.blocked() {
			p.WaitsFor = append(p.WaitsFor, b.client)
		}
		w.waiting = append(w.waiting, s)
		e.Parts = append(e.Parts, p)
		return
	}
	said := s.result
	if s.code != "" {
		p.Outcome, p.SQLState, said = sched.Failed, s.code, s.code
	} else {
		p.Touched = p.Touched.Join(s.touched)
	}
	c.said = append(c.said, said)
	switch {
	case c.commit:
		c.commit = false
		c.next++
	case c.auto && s.code == "":
		c.commit = true
	default:
		c.next++
	}
	if !s.tx.live {
		c.tx = nil
	}
	e.Parts = append(e.Parts, p)
}

// run executes the statement and returns what its client is told.
func (w *world) run(s *statement) (result, code string) {
	tx := s.tx
	switch s.op.do {
	case "commit":
		for _, check := range tx.checks {
			if code := check(s); code != "" {
				w.rollback(tx, 0)
				tx.live = false
				return "", code
			}
		}
		if tx.doomed {
			w.rollback(tx, 0)
			w.free(tx)
			return "", "40001"
		}
		w.clock++
		tx.commit = w.clock
		w.free(tx)
		w.doom(tx)
		return "committed", ""
	case "rollback":
		w.rollback(tx, 0)
		w.free(tx)
		return "rolled back", ""
	case "rollback to":
		w.rollback(tx, tx.save)
		tx.failed = false
		return "rolled back to", ""
	}
	s.at = w.clock
	if tx.fixed() && s.op.do != "lock" {
		if tx.snapshot < 0 {
			tx.snapshot = w.clock
		}
		s.at = tx.snapshot
	}
	before := len(tx.undo)
	if tx.level == sched.Serializable && !slices.Contains(w.serial, tx) && tx.snapshot >= 0 {
		w.serial = append(w.serial, tx)
	}
	if code = "40001"; !tx.doomed {
		result, code = w.body(s)
	}
	if code == "" {
		return result, ""
	}
	w.rollback(tx, before)
	switch {
	case w.clients[tx.client].auto:
		w.rollback(tx, 0)
		w.free(tx)
	case tx.save >= 0:
		w.rollback(tx, tx.save)
		tx.failed = true
	default:
		w.rollback(tx, 0)
		tx.failed = true
	}
	return "", code
}

func (w *world) rollback(tx *txn, to int) {
	for len(tx.undo) > to {
		last := len(tx.undo) - 1
		undo := tx.undo[last]
		tx.undo = tx.undo[:last]
		undo()
	}
}

// free ends the transaction's locks.
func (w *world) free(tx *txn) {
	tx.live = false
	for _, t := range w.tables {
		delete(t.locks, tx)
		for _, r := range t.rows {
			delete(r.locks, tx)
		}
	}
	for key, owner := range w.advisory {
		if owner == tx {
			delete(w.advisory, key)
		}
	}
}

// await waits until nobody blocks; an SQLSTATE when that would be for ever.
func (w *world) await(s *statement, wt *waiter) string {
	wt.by = s.tx
	if len(wt.blocked()) == 0 {
		return ""
	}
	seen := map[*txn]bool{}
	var reaches func([]*txn) bool
	reaches = func(from []*txn) bool {
		for _, t := range from {
			if t == s.tx {
				return true
			}
			if seen[t] {
				continue
			}
			seen[t] = true
			for _, other := range w.waiting {
				if other.tx == t && reaches(other.wait.blocked()) {
					return true
				}
			}
		}
		return false
	}
	if reaches(wt.blocked()) {
		return "40P01"
	}
	if !s.yield(wt) {
		return "57014" // the run was given up
	}
	return ""
}

// lockTable takes a table lock, behind those who queue for one that conflicts.
func (w *world) lockTable(s *statement, name string, mode sched.Modes, nowait bool) string {
	t, me := w.tables[name], &waiter{by: s.tx, mode: mode}
	me.blocked = func() []*txn {
		var by []*txn
		for tx, held := range t.locks {
			if tx != s.tx && held.Conflict(mode) {
				by = append(by, tx)
			}
		}
		for _, q := range t.queue {
			if q == me {
				break
			}
			if q.by != s.tx && q.mode.Conflict(mode) {
				by = append(by, q.by)
			}
		}
		return order(by)
	}
	if nowait && len(me.blocked()) > 0 {
		return "55P03"
	}
	if len(me.blocked()) > 0 {
		t.queue = append(t.queue, me)
		code := w.await(s, me)
		t.queue = slices.DeleteFunc(t.queue, func(q *waiter) bool { return q == me })
		if code != "" {
			return code
		}
	}
	was := t.locks[s.tx]
	t.locks[s.tx] = was | mode
	s.tx.undo = append(s.tx.undo, func() {
		if t.locks[s.tx] = was; was == 0 {
			delete(t.locks, s.tx)
		}
	})
	s.touched = s.touched.Join(sched.Footprint{Relations: map[string]sched.Modes{name: mode}})
	return ""
}

func order(txs []*txn) []*txn {
	slices.SortFunc(txs, func(a, b *txn) int { return cmp.Compare(a.client, b.client) })
	return slices.Compact(txs)
}

// lockRow takes a row lock. Skipped: it is locked, and how says to skip.
func (w *world) lockRow(s *statement, r *row, want strength, how string) (skipped bool, code string) {
	blocked := func() []*txn {
		var by []*txn
		for tx, held := range r.locks {
			if tx != s.tx && held.conflicts(want) {
				by = append(by, tx)
			}
		}
		return order(by)
	}
	if len(blocked()) > 0 {
		switch how {
		case "nowait":
			return false, "55P03"
		case "skip":
			return true, ""
		}
		if code := w.await(s, &waiter{blocked: blocked}); code != "" {
			return false, code
		}
	}
	was := r.locks[s.tx]
	if want > was {
		r.locks[s.tx] = want
		s.tx.undo = append(s.tx.undo, func() {
			if r.locks[s.tx] = was; was == 0 {
				delete(r.locks, s.tx)
			}
		})
	}
	return false, ""
}

// visible returns the version that the transaction sees at a time; false: none.
func (r *row) visible(tx *txn, at int) (version, bool) {
	for i := len(r.versions) - 1; i >= 0; i-- {
		if v := r.versions[i]; v.by == tx || v.by.commit > 0 && v.by.commit <= at {
			return v, !v.gone
		}
	}
	return version{}, false
}

func (r *row) latest() version { return r.versions[len(r.versions)-1] }

// state returns what is in the tables, as far as it is committed; no names: in all of them.
func (w *world) state(names ...string) string {
	var lines []string
	for name, t := range w.tables {
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		rows := t.rows
		if t.cut != nil && t.cut.live {
			rows = t.was
		}
		for _, r := range rows {
			if v, ok := r.visible(nil, w.clock); ok {
				lines = append(lines, fmt.Sprintf("%s%d=%d", name, r.key, v.value))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, " ")
}

// digest returns what everyone was told, and what is there.
func (w *world) digest() string {
	var b strings.Builder
	for _, c := range w.clients {
		fmt.Fprintf(&b, "%s | ", strings.Join(c.said, ", "))
	}
	return b.String() + w.state()
}

// close gives up what still waits.
func (w *world) close() {
	for _, s := range w.waiting {
		s.stop()
	}
}
