package sched_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/sched"
)

// found is what a search came to.
type found struct {
	outcomes  map[string]int // how many runs ended so
	schedules []string
	levels    []int // preemptions, in the order of settling
	coverage  sched.Coverage
}

func (f found) set() []string { return slices.Sorted(maps.Keys(f.outcomes)) }

// explore makes all runs of a search over the toy.
func explore(t testing.TB, p program, config sched.Config) found {
	t.Helper()
	f := found{outcomes: map[string]int{}}
	settled := config.Settled
	config.Settled = func(r *sched.Run) bool {
		f.outcomes[r.Result.(string)]++
		f.schedules = append(f.schedules, schedule(r))
		f.levels = append(f.levels, r.Preemptions)
		return settled == nil || settled(r)
	}
	config.Catalog = catalog(p)
	s, err := sched.New(config)
	require.NoError(t, err)
	for r := s.Next(); r != nil; r = s.Next() {
		make1(t, r, p, config.Watch)
	}
	f.coverage = s.Coverage()
	return f
}

func schedule(r *sched.Run) string {
	var b []byte
	for _, step := range r.Schedule {
		b = append(b, 'A'+byte(step.Client))
	}
	return string(b)
}

// make1 makes one run. What looks at some tables after every commit see, one change after another, is part of its outcome.
func make1(t testing.TB, r *sched.Run, p program, looks [][]string) {
	w := newWorld(p)
	defer w.close()
	seen := make([][]string, len(looks))
	for held := w.held(); len(held) > 0; held = w.held() {
		client, ok := r.Pick(held)
		if !ok {
			r.End("")
			return
		}
		e := w.release(client)
		require.NoError(t, r.Observe(e))
		for i, tables := range looks {
			seen[i] = slices.Compact(append(seen[i], w.state(tables...)))
		}
	}
	r.End(fmt.Sprint(w.digest(), seen))
}

func catalog(p program) sched.Catalog {
	var c sched.Catalog
	for child, parent := range p.foreign {
		c.ForeignKeys = append(c.ForeignKeys, sched.ForeignKey{Child: child, Parent: parent, Deferred: p.later})
	}
	return c
}
