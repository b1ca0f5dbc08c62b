package explore

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sqltext"
	"github.com/interlock-pg/interlock/harness/wire"
)

// owners says which strand each session of an application is at present.
type owners struct {
	of      map[*wire.Session]*strand
	pending map[*wire.Session]*claims
	frozen  map[*wire.Session]int             // until the clients are done, at which step
	others  map[*wire.Session]race.Background // that have begun a transaction which is no client's, with what becomes of it
}

// claims are who a step may belong to.
type claims struct {
	step  int
	since time.Time
	by    map[*client]int // with how many permits each had
}

// arrange puts queries that an application has begun at the same time for one client into an order that does not depend on which came first.
func (r *run) arrange() {
	for _, c := range r.clients {
		var fresh []*strand
		var sessions []*wire.Session
		for _, s := range c.strands {
			if s.session != nil && s.step.Index == 0 && s.phase() == held {
				fresh, sessions = append(fresh, s), append(sessions, s.session)
			}
		}
		if len(fresh) < 2 {
			continue
		}
		key := func(s *wire.Session) string {
			step := s.State().Step
			return r.text(step) + "\x00" + lasting(step)
		}
		slices.SortStableFunc(sessions, func(a, b *wire.Session) int { return strings.Compare(key(a), key(b)) })
		for i, s := range fresh {
			s.session, s.from = sessions[i], sessions[i].State().Step.Index
			r.owners.of[s.session] = s
		}
	}
}

// Values that an application makes anew in every run: identifiers, and times in all spellings.
var passing = regexp.MustCompile(`(?i)\b[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\b|\b[0-9a-hjkmnp-tv-z]{26}\b|\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?|\b1\d{9,}\b`)

// lasting is what a statement says, with its values, but for those that are others in every run.
func lasting(step wire.Step) string {
	var b strings.Builder
	b.WriteString(passing.ReplaceAllLiteralString(step.SQL, "?"))
	for _, p := range step.Parameters {
		b.WriteByte(0)
		if !p.Null {
			b.WriteString(passing.ReplaceAllLiteralString(p.String(), "?"))
		}
	}
	return b.String()
}

// possible are the names of the clients whose statement it may be: those who claim it, or if there are none, all who have asked for something.
func (r *run) possible(p *claims) string {
	var all []string
	for _, c := range r.clients {
		if _, claims := p.by[c]; claims || len(p.by) == 0 && c.begun > 0 {
			all = append(all, c.Name)
		}
	}
	return strings.Join(all, " and ")
}

// errWhose asks for what tells whose a statement is.
func (r *run) errWhose(s *wire.Session, p *claims) error {
	return fmt.Errorf("it cannot be told whose statement this is, of %s: %s; have the application put what the request's traceparent header says into a "+
		"comment of its SQL, as sqlcommenter does, or name the statement as background in the target file", r.possible(p), brief(s.State().Step.SQL))
}

// flying returns the clients that have asked for something and have not been answered.
func (r *run) flying() []*client {
	var all []*client
	for _, c := range r.clients {
		if c.begun > 0 && !c.done.Load() && !c.ready.Load() {
			all = append(all, c)
		}
	}
	return all
}

// assign finds out whose the steps are that sessions are held at, and returns the sessions whose steps are nobody's, to be let through. Those that are
// left are pending.
func (r *run) assign() (background []*wire.Session) {
	sessions := r.gate.Sessions()
	for _, s := range sessions {
		state := s.State()
		if own := r.owners.of[s]; own != nil && givenUp(state) {
			own.detach()
		}
		if state.Phase != wire.Holding && !passWaits(state) {
			delete(r.owners.pending, s)
			continue
		}
		own := r.owners.of[s]
		goesOn := state.Result.Status != wire.Idle && state.Result.Status != wire.Unknown && state.Answered > 0
		if own != nil && (goesOn || own.from == state.Step.Index) || r.owners.frozen[s] == state.Step.Index && state.Step.Index > 0 {
			continue
		}
		if own != nil { // its transaction ended without our seeing it: the client has cancelled what was held
			r.unbind(own)
		}
		rule, ok := r.application.rule(state)
		if begun, is := r.owners.others[s]; is && goesOn && !ok {
			rule, ok = begun, true
		}
		if ok {
			r.owners.others[s] = rule
		} else {
			delete(r.owners.others, s)
		}
		switch {
		case ok && rule.Freeze:
			r.owners.frozen[s] = state.Step.Index
			r.seen.note(state.Step, true)
		case ok, r.marked(state) == nil && isHousekeeping(state):
			background = append(background, s)
		default:
			r.claim(s, state)
		}
	}
	for s := range r.owners.pending {
		if !slices.Contains(sessions, s) {
			delete(r.owners.pending, s)
		}
	}
	return background
}

// rule returns what is to become of a statement that the user says is no client's; false: it may be one's.
func (a *application) rule(state wire.State) (race.Background, bool) {
	sql := sqltext.Bare(state.Step.SQL)
	for _, rule := range a.Habits.Background {
		if (rule.SQL == nil || rule.SQL.MatchString(sql)) && (rule.Application == nil || rule.Application.MatchString(state.Name)) {
			return rule, true
		}
	}
	return race.Background{}, false
}

// marked returns the client whose mark the statement, what went before it, or its session's name has; nil: none.
func (r *run) marked(state wire.State) *client {
	for _, c := range r.clients {
		if c.Mark != "" && (strings.Contains(state.Step.SQL, c.Mark) || strings.Contains(state.Name, c.Mark) ||
			slices.ContainsFunc(state.Step.Passed, func(sql string) bool { return strings.Contains(sql, c.Mark) })) {
			return c
		}
	}
	return nil
}

// claim gives the step to the client that it must belong to, or notes who it may belong to.
func (r *run) claim(s *wire.Session, state wire.State) {
	if c := r.marked(state); c != nil {
		r.bind(s, c, state)
		return
	}
	p := r.owners.pending[s]
	if p == nil || p.step != state.Step.Index {
		p = &claims{step: state.Step.Index, since: time.Now(), by: r.claimants()}
		r.owners.pending[s] = p
	}
	for c, permits := range p.by {
		if len(p.by) > 1 && (c.begun != permits || c.done.Load() || c.ready.Load() || c.phase() != busy) {
			delete(p.by, c) // it has been answered, or is held elsewhere
		}
	}
	for c := range p.by {
		if len(p.by) == 1 {
			r.bind(s, c, state)
		}
	}
}

// claimants returns those of whom nothing is at the gate or under way, though they wait for an answer, with their permits. One that has a transaction
// open makes its statements there, as long as there is somebody else.
func (r *run) claimants() map[*client]int {
	free, engaged := map[*client]int{}, map[*client]int{}
	for _, c := range r.flying() {
		switch {
		case slices.ContainsFunc(c.strands, func(s *strand) bool { return s.phase() != quiet }):
		case slices.ContainsFunc(c.strands, r.engaged):
			engaged[c] = c.begun
		default:
			free[c] = c.begun
		}
	}
	if len(free) > 0 {
		return free
	}
	return engaged
}

// engaged reports whether the strand has a transaction open.
func (r *run) engaged(s *strand) bool {
	if s.session == nil || r.owners.of[s.session] != s {
		return false
	}
	status := s.session.State().Status
	return status == wire.InTransaction || status == wire.Failed || status == wire.Implicit
}

// errParallel means that an application makes queries at the same time, and was not known to: orders have been left out.
var errParallel = errors.New("the application makes queries at the same time")

// bind makes a session that of a client, from the step that it is held at, until its transaction is over.
func (r *run) bind(session *wire.Session, c *client, state wire.State) {
	delete(r.owners.pending, session)
	i := slices.IndexFunc(c.strands, func(s *strand) bool { return s.phase() == quiet && !r.engaged(s) })
	if i < 0 {
		i = len(c.strands)
		r.strand(c)
	}
	s := c.strands[i]
	if i > 0 && !r.parallel[r.scenario.System] {
		r.surprise = fmt.Errorf("%w for client %s: %s", errParallel, c.Name, brief(state.Step.SQL))
	}
	s.session, s.from, s.step = session, state.Step.Index, wire.Step{}
	r.owners.of[session] = s
	c.thinks = false
}

// unbind gives a session back, of which the transaction is over.
func (r *run) unbind(s *strand) {
	delete(r.owners.of, s.session)
	s.session = nil
}

// text is what tells a step from others, in all runs of a search. What an application makes anew in every run is left out of it.
func (r *run) text(step wire.Step) string {
	if r.application == nil {
		return step.SQL
	}
	return sqltext.Normal(step.SQL)
}
