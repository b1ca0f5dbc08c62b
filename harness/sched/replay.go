package sched

import "slices"

// replayed makes one run, by a recorded schedule. Where that no longer fits, the run notes it and goes on as near to it as it can: with the
// next choice of the schedule that can be made, else with the client that went last.
type replayed struct {
	schedule []Step
	at       int // the next step of the schedule
	out      bool
	run      *Run
	settled  bool
}

func (x *replayed) next() *Run {
	if x.out || x.run != nil || x.settled {
		return nil
	}
	x.out, x.at = true, 0
	return &Run{}
}

func (x *replayed) pick(r *Run, held []Step) (int, Status) {
	for ; x.at < len(x.schedule); x.at++ {
		want := x.schedule[x.at]
		if i := find(held, want.Client); i >= 0 {
			if (want.Kind != "" && want.Kind != held[i].Kind) || (want.Text != "" && want.Text != held[i].Text) {
				x.miss(r, &want, held)
			}
			x.at++
			return want.Client, Running
		}
		x.miss(r, &want, held)
	}
	x.miss(r, nil, held)
	return r.stay(held, nobody), Running
}

// miss notes the first place where the schedule does not fit.
func (x *replayed) miss(r *Run, want *Step, held []Step) {
	if r.Mismatch == nil {
		r.Mismatch = &Mismatch{At: len(r.Schedule), Want: want, Held: slices.Clone(held)}
	}
}

func (x *replayed) observe(*Run, Event, int) error { return nil }

func (x *replayed) end(r *Run) {
	if x.at < len(x.schedule) && r.Status == Complete {
		x.miss(r, &x.schedule[x.at], nil)
	}
	x.out, x.run = false, r
}

func (x *replayed) abandon(*Run) { x.out = false }

func (x *replayed) settle() *Run {
	if x.settled {
		return nil
	}
	x.settled = x.run != nil
	return x.run
}

func (x *replayed) cover(c *Coverage) { c.Finished = x.settled }
