package explore

import (
	"context"
	"errors"
	"slices"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sched"
)

// Execution is one interleaving with all that happened in it.
type Execution struct {
	Round        history.Round
	Interleaving history.Interleaving
	Preemptions  int
	Mismatch     *sched.Mismatch // where the choices did not fit; nil: they did
}

// Breaks reports whether the invariant was seen broken.
func (x Execution) Breaks(invariant string) bool {
	return slices.ContainsFunc(x.Round.Violations, func(v history.Violation) bool { return v.Invariant == invariant })
}

// faultsOf returns the faults among the choices of a schedule.
func faultsOf(choices []int) []history.Fault {
	var faults []history.Fault
	for _, choice := range choices {
		if _, fault := history.Chosen(choice); fault != "" {
			faults = append(faults, fault)
		}
	}
	return faults
}

// Play executes one interleaving: that in which clients are released, or meet a fault, in this order; see [history.Choice]. Where the order does not fit, or is at its end, it goes on as
// near to it as it can, preferring the client that went last.
func (e *Explorer) Play(ctx context.Context, s race.Scenario, choices []int) (Execution, error) {
	config := sched.Config{Strategy: sched.Replay}
	for _, client := range choices {
		config.Schedule = append(config.Schedule, sched.Step{Client: client})
	}
	search, err := sched.New(config)
	if err != nil {
		return Execution{}, err
	}
	faults := faultsOf(choices)
	if len(s.Clients) > history.MostClients {
		faults = nil
	}
	if slices.Contains(faults, history.Restart) {
		if err := restartable(e.template.Server()); err != nil {
			return Execution{}, err
		}
	}
	if err := e.rehearse(ctx, s.Named(), defaultHang); err != nil {
		return Execution{}, err
	}
	st, err := e.stage(ctx)
	if err != nil {
		return Execution{}, err
	}
	r := search.Next()
	p, err := st.play(ctx, s.Named(), r, nil, Config{Hang: defaultHang, Faults: faults, patient: true})
	if err != nil {
		err = errors.Join(err, st.Close(context.WithoutCancel(ctx)))
		if e.learned(s.System, err) {
			return e.Play(ctx, s, choices)
		}
		return Execution{Round: p.round, Interleaving: p.interleaving}, err
	}
	r.End(nil)
	e.stages = append(e.stages, st)
	return Execution{Round: p.round, Interleaving: p.interleaving, Preemptions: r.Preemptions, Mismatch: r.Mismatch}, nil
}

// Keep executes an interleaving and leaves its database as that left it. It returns a DSN without the password.
func (e *Explorer) Keep(ctx context.Context, s race.Scenario, choices []int) (string, error) {
	if _, err := e.Play(ctx, s, choices); err != nil {
		return "", err
	}
	st := e.stages[len(e.stages)-1]
	e.stages = e.stages[:len(e.stages)-1]
	after := context.WithoutCancel(ctx)
	if err := st.vacate(after); err != nil {
		return "", errors.Join(err, st.arena.Database.Drop(after))
	}
	return st.arena.Database.Keep(after)
}
