package isolation

import "fmt"

// mention is where in a spec a name stands: a step of a session, or, where permutation is not 0, a step of that permutation, from 1, or one of that
// step's markers, from 1.
type mention struct{ session, permutation, step, marker int }

// referenceError is a name that is there twice, or that nothing is called.
type referenceError struct {
	at           mention
	problem, try string
}

func (e *referenceError) Error() string { return fmt.Sprintf("%s; try: %s", e.problem, e.try) }

// check returns the first name that is wrong, as a [*referenceError].
func (s *Spec) check() error {
	owner := map[string]int{} // the session of each step
	for i, session := range s.Sessions {
		for j, step := range session.Steps {
			if _, twice := owner[step.Name]; twice {
				return &referenceError{
					mention{session: i, step: j},
					fmt.Sprintf("there is a step %q already", step.Name), "another name: steps of different sessions differ in theirs too",
				}
			}
			owner[step.Name] = i
		}
	}
	for i, permutation := range s.Permutations {
		present := map[string]bool{}
		for _, step := range permutation.Steps {
			present[step.Step] = true
		}
		for j, step := range permutation.Steps {
			at := mention{permutation: i + 1, step: j}
			session, ok := owner[step.Step]
			if !ok {
				return &referenceError{at, fmt.Sprintf("there is no step %q", step.Step), "the name of a step of one of the sessions"}
			}
			for k, m := range step.Markers {
				at.marker = k + 1
				switch {
				case m.Kind == Once:
				case !present[m.Step]:
					return &referenceError{at, fmt.Sprintf("there is no step %q in this permutation", m.Step), "the name of a step that is"}
				case owner[m.Step] == session:
					return &referenceError{at, "a step does not run while another of its session does", "the name of a step of another session"}
				}
			}
		}
	}
	return nil
}
