package isolation

import "time"

// SetPatience changes how long a run waits before it takes for waiting what may not go on to wait, until the returned function is called.
func SetPatience(d time.Duration) (undo func()) {
	before := patience
	patience = d
	return func() { patience = before }
}
