package isolation

import "time"

// SetPatience changes how long a run waits before it takes for waiting what may not go on to wait, until the returned function is called.
func SetPatience(d time.Duration) (undo func()) {
	before := patience
	patience = d
	return func() { patience = before }
}

// Restore returns the script that stands for the teardown and the setup of the spec, if there is one.
func (s *Spec) Restore() string { return s.shortcuts().restore }

// Separable says whether the spec's permutations may be run in several databases.
func (s *Spec) Separable() bool { return s.shortcuts().separable }
