package isolation

import (
	"iter"
	"strings"
)

// Spec is a test of PostgreSQL's isolation suite: sessions, their steps, and the orders in which to run the steps. Its SQL blocks are sent as they
// are, one message each. The zero value of an optional block is that there is none.
type Spec struct {
	Setups       []string // run one after another before each permutation, on a connection of their own
	Teardown     string   // runs after it, on the same connection
	Sessions     []Session
	Permutations []Permutation // none: all orders of the sessions' steps
}

// Session is one connection to the server.
type Session struct {
	Name     string
	Setup    string // runs before the steps of each permutation
	Steps    []Step
	Teardown string // runs after them
}

// Step is what a session sends at once. Its name is the only one of the kind in the whole spec.
type Step struct {
	Name string
	SQL  string
}

// Permutation is one order of steps. It may repeat steps, and leave out others.
type Permutation struct {
	Steps []PermutationStep
}

// PermutationStep is a step within a permutation.
type PermutationStep struct {
	Step    string
	Markers []Marker
}

// Marker delays the report that a step is complete. It never delays the step.
type Marker struct {
	Kind    MarkerKind
	Step    string // of another session; empty for Once
	Notices int    // for Notices
}

// MarkerKind says what a marker waits for.
type MarkerKind string

// The markers, as they are written behind a step's name.
const (
	Once    MarkerKind = "*"       // (*): the step is reported as waiting at first, whether it waits or not
	Active  MarkerKind = "step"    // (other): until other is complete
	Notices MarkerKind = "notices" // (other notices 2): until the session of other has sent two notices since this step was sent
)

// Setup returns the setup blocks as one script, for a database to begin with. A statement that has to be alone in its message, such as VACUUM, is
// then in one with others: a spec that has one is run by [Tester.Run] only.
func (s *Spec) Setup() string {
	var b strings.Builder
	for _, setup := range s.Setups {
		b.WriteString(setup)
		b.WriteString("\n;\n") // on a line of its own: the block may end in a comment
	}
	return b.String()
}

// orders yields the permutations to run: those of the spec, or all orders of the sessions' steps, those first that begin with the first sessions.
func (s *Spec) orders() iter.Seq[Permutation] {
	return func(yield func(Permutation) bool) {
		if len(s.Permutations) > 0 {
			for _, p := range s.Permutations {
				if !yield(p) {
					return
				}
			}
			return
		}
		total := 0
		for _, session := range s.Sessions {
			total += len(session.Steps)
		}
		s.extend(make([]PermutationStep, 0, total), make([]int, len(s.Sessions)), yield)
	}
}

// extend yields the orders that begin with these steps, of which each session has taken so many.
func (s *Spec) extend(steps []PermutationStep, taken []int, yield func(Permutation) bool) bool {
	complete := true
	for i, session := range s.Sessions {
		if taken[i] == len(session.Steps) {
			continue
		}
		complete = false
		next := PermutationStep{Step: session.Steps[taken[i]].Name}
		taken[i]++
		more := s.extend(append(steps, next), taken, yield)
		taken[i]--
		if !more {
			return false
		}
	}
	return !complete || yield(Permutation{Steps: append([]PermutationStep(nil), steps...)})
}
