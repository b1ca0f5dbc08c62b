package load

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
)

// judge judges the invariants that are about what clients were told, and all others a last time. Those of a ramp share a database, and what is wrong with
// it. What cannot be judged is trouble of its lanes.
func (r *run) judge(ctx context.Context) error {
	deadline := time.Now().Add(r.patience) // of all together
	for _, g := range r.grounds {
		err := g.settle(ctx, deadline)
		var broken []history.Violation
		for _, outcomes := range []bool{true, false} {
			if err == nil {
				var more []history.Violation
				more, err = g.look(ctx, outcomes, history.AtRest)
				broken = append(broken, more...)
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for _, l := range r.lanes {
			if l.ground == g {
				l.note(broken)
			}
		}
		g.trouble = err
	}
	return nil
}

// report writes down what was measured.
func (r *run) report(out *history.Measurement) {
	if r.yard != nil {
		out.Outages = append(out.Outages, r.yard.outages...) // the server may be away in its slices
		yards := map[int]history.Duration{}                  // by turn
		for _, s := range r.yard.slices {
			yards[s.Turn] = s.Mean
		}
		for _, l := range r.lanes {
			for i := range l.slices {
				l.slices[i].Yardstick = yards[l.slices[i].Turn]
			}
		}
	}
	for _, l := range r.lanes {
		arm := l.arm()
		for _, base := range r.lanes {
			if base != l && base.subject.Base && base.clients == l.clients && base.subject.Workload.Name == l.subject.Workload.Name {
				arm.Cost, arm.Speed = paired(l.slices, base.slices, mean), paired(l.slices, base.slices, throughput)
			}
		}
		out.Arms = append(out.Arms, arm)
		out.Outages = append(out.Outages, l.outages...)
	}
	slices.SortStableFunc(out.Outages, func(a, b history.Outage) int { return cmp.Compare(a.Began, b.Began) })
	knees(out.Arms)
	out.Harness = history.Harness{CPU: history.Duration(r.spent), Wall: history.Duration(r.wall)}
	if r.wall > 0 {
		out.Harness.Share = round(float64(r.spent) / float64(r.wall) / float64(runtime.NumCPU()))
	}
}

// arm writes down what was measured of one lane.
func (l *lane) arm() history.Arm {
	w := l.subject.Workload
	arm := history.Arm{
		Scenario: w.Name, Variant: w.Variant, Says: w.Says, At: l.subject.At, Clients: l.clients, Base: l.subject.Base,
		Looks: l.looks, Violations: l.seen, Latency: l.whole.latency(), Unserved: l.unserved, Retries: l.retries, Errors: l.errors, Slices: l.slices,
		Database: l.database(),
	}
	for _, s := range l.slices {
		arm.Operations += s.Operations
		arm.Measured += s.Took
	}
	if arm.Measured > 0 {
		arm.Throughput = round(float64(arm.Operations) / time.Duration(arm.Measured).Seconds())
	}
	for _, key := range slices.SortedFunc(maps.Keys(l.kinds), func(a, b kind) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.outcome, b.outcome))
	}) {
		t := l.kinds[key]
		arm.Kinds = append(arm.Kinds, history.LoadKind{Kind: key.kind, Outcome: key.outcome, Count: t.count, Latency: t.latency()})
	}
	if l.ground.trouble != nil {
		arm.Trouble = l.ground.trouble.Error()
	}
	l.verdict(&arm)
	return arm
}

// verdict judges by what is expected of the workload. What need not hold may break: a load run does not look for it.
func (l *lane) verdict(arm *history.Arm) {
	w := l.subject.Workload
	expect := race.Expectation{}
	if w.Expect != nil {
		expect = w.Expect(l.subject.At)
	}
	arm.Verdict, arm.AsExpected = history.Held, true
	for _, inv := range l.ground.stream.Invariants {
		j := history.Judgement{Invariant: inv.Name, Says: inv.Says, Broken: l.broken[inv.Name], Verdict: history.Held}
		if w.Expect == nil || slices.Contains(expect.Hold, inv.Name) {
			j.Expected = history.MustHold
		}
		switch {
		case j.Broken > 0:
			j.Verdict = history.Violated
		case arm.Trouble != "" || arm.Operations == 0:
			j.Verdict = history.Unknown
		}
		arm.Verdict = history.Worst(arm.Verdict, j.Verdict)
		arm.AsExpected = arm.AsExpected && j.AsExpected()
		arm.Invariants = append(arm.Invariants, j)
	}
	if arm.Operations == 0 {
		arm.Verdict, arm.AsExpected = history.Unknown, false
		arm.Trouble = cmp.Or(arm.Trouble, "not a single operation got an answer")
	}
}

// database writes down what the server says about the lane's database. The counters are those of all numbers of clients together.
func (l *lane) database() history.DatabaseLoad {
	a, b := l.ground.after, l.ground.before
	d := history.DatabaseLoad{Samples: l.samples, WALBytes: l.wal}
	if a.relations == nil || b.relations == nil {
		a, b = counts{}, counts{}
	}
	d.Commits, d.Rollbacks, d.Deadlocks = since(a.Commits, b.Commits), since(a.Rollbacks, b.Rollbacks), since(a.Deadlocks, b.Deadlocks)
	d.TempFiles, d.TempBytes = since(a.TempFiles, b.TempFiles), since(a.TempBytes, b.TempBytes)
	d.BlocksHit, d.BlocksRead = since(a.Hit, b.Hit), since(a.Read, b.Read)
	for w, n := range l.waits {
		d.Waits = append(d.Waits, history.Wait{Type: w.kind, Event: w.event, Share: round(float64(n) / float64(l.samples))})
	}
	slices.SortFunc(d.Waits, func(x, y history.Wait) int {
		return cmp.Or(cmp.Compare(y.Share, x.Share), cmp.Compare(x.Type, y.Type), cmp.Compare(x.Event, y.Event))
	})
	for _, name := range slices.Sorted(maps.Keys(a.relations)) {
		now, was := a.relations[name], b.relations[name]
		if now.Bytes != was.Bytes || now.Dead > 0 {
			d.Relations = append(d.Relations, history.Relation{Name: name, Index: now.Index, Before: was.Bytes, After: now.Bytes, Dead: now.Dead, Live: now.Live})
		}
	}
	return d
}

// enough: with so much of the greatest throughput, a ramp has come to where more clients bring no more.
const enough = 0.95

// knees marks, of each subject's ramp, the fewest clients that bring (nearly) the greatest throughput.
func knees(arms []history.Arm) {
	of := map[string][]int{}
	for i, a := range arms {
		name := fmt.Sprint(a.Name(), " at ", a.At)
		of[name] = append(of[name], i)
	}
	for _, ramp := range of {
		most := 0.0
		for _, i := range ramp {
			most = max(most, arms[i].Throughput)
		}
		slices.SortFunc(ramp, func(a, b int) int { return cmp.Compare(arms[a].Clients, arms[b].Clients) })
		for _, i := range ramp {
			if len(ramp) > 1 && most > 0 && arms[i].Throughput >= enough*most {
				arms[i].Knee = true
				break
			}
		}
	}
}
