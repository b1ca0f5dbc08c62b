package reports

import (
	"fmt"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

// mostGroups is how many groups a report shows of each invariant; the run file has them all.
const mostGroups = 60

// repair adds what becomes of groups to the story, or what was taken back.
func (s *story) repair(run history.Run) func(tone) string {
	r := run.Repair
	if r == nil {
		return func(tone) string { return "Unknown: nothing was looked at." }
	}
	if r.Undone != nil {
		return s.undone(*r)
	}
	var invariants []string
	groups := map[string][]history.RepairGroup{}
	for _, g := range r.Groups {
		if groups[g.Invariant] == nil {
			invariants = append(invariants, g.Invariant)
		}
		groups[g.Invariant] = append(groups[g.Invariant], g)
	}
	var said []string
	for _, name := range invariants {
		it, t := repaired(name, groups[name])
		said = append(said, it.name+" "+it.brief)
		s.items, s.tables = append(s.items, it), append(s.tables, t)
	}
	if len(r.Groups) == 0 {
		s.items = append(s.items, item{group: "repair", name: "invariants", tone: held, brief: "✓ hold"})
		said = []string{"nothing to repair"}
	}
	if r.ID != "" && r.Left > 0 {
		it := item{group: "repair", name: "left", tone: bad, brief: count(r.Left, "group", "groups")}
		it.notes = []string{count(r.Left, "group", "groups") + " still in breach; try planning again"}
		s.items = append(s.items, it)
	}
	return func(tone) string {
		lead := "Planned"
		switch {
		case len(r.Groups) == 0:
			lead = "Holds at this moment"
		case r.ID != "" && run.Trouble != "":
			lead = say("Cut short, repair %s", r.ID)
		case r.ID != "":
			lead = say("Repair %s", r.ID)
		}
		return lead + ": " + strings.Join(said, "; ") + "."
	}
}

// repaired says what becomes of the groups of one invariant.
func repaired(name string, groups []history.RepairGroup) (item, table) {
	it := item{group: "repair", name: say("%s", name), tone: held}
	t := table{caption: say("%s", name), head: []string{"device", "keep", "cancel", "state"}}
	of := map[history.RepairState]int{}
	cancel := 0
	for _, g := range groups {
		of[g.State]++
		tone := bad
		switch g.State {
		case history.RepairResolved, history.RepairGone:
			tone = held
		}
		if g.State == history.RepairPlanned || g.State == history.RepairResolved || g.State == history.RepairStuck {
			cancel += len(g.Cancel)
		}
		it.tone = max(it.tone, tone)
		state := say("%s", g.State)
		if g.Why != "" {
			state += say(": %s", g.Why)
			it.notes = append(it.notes, say("%s of %s is %s: %s", name, g.Key, g.State, g.Why))
		}
		if len(t.rows) < mostGroups {
			t.rows = append(t.rows, []text{{words: say("%s", g.Key)}, {words: repairRows(g.Keep)}, {words: repairRows(g.Cancel)}, {state, tone}})
		}
	}
	if n := len(groups) - len(t.rows); n > 0 {
		t.notes = []string{fmt.Sprintf("and %s; the run file has them all", count(n, "group more", "groups more"))}
	}
	if more := len(it.notes) - mostGroups; more > 0 {
		it.notes = append(it.notes[:mostGroups], fmt.Sprintf("and %d more like it", more))
	}
	var states []string
	for _, state := range []history.RepairState{
		history.RepairPlanned, history.RepairResolved, history.RepairGone, history.RepairChanged, history.RepairBusy, history.RepairStuck,
	} {
		if n := of[state]; n > 0 {
			states = append(states, count(n, "group ", "groups ")+string(state))
		}
	}
	done := "cancelled"
	if of[history.RepairPlanned] > 0 {
		done = "to cancel"
	}
	it.brief = strings.Join(states, ", ") + fmt.Sprintf(", %s %s", count(cancel, "row", "rows"), done)
	return it, t
}

func repairRows(rows []history.RepairRow) string {
	var lines []string
	for _, row := range rows {
		lines = append(lines, say("%s: %s", row.ID, row.Says))
	}
	return strings.Join(lines, "\n")
}

// undone tells what was put back.
func (s *story) undone(r history.Repair) func(tone) string {
	it := item{group: "repair", name: say("undo %s", r.ID), tone: held, brief: count(r.Undone.Restored, "row", "rows") + " restored"}
	left := table{caption: "rows that were left as they are", head: []string{"row", "device", "why"}}
	for _, row := range r.Undone.Kept {
		it.tone = bad
		left.rows = append(left.rows, []text{{words: say("%s\nof %s", row.ID, row.Table)}, {words: say("%s", row.Key)}, {say("%s", row.Why), bad}})
	}
	if len(left.rows) > 0 {
		it.notes = []string{count(len(left.rows), "row was", "rows were") + " left as they are"}
		s.tables = append(s.tables, left)
	}
	s.items = append(s.items, it)
	return func(tone) string {
		return fmt.Sprintf("%s restored, %d left as they are.", count(r.Undone.Restored, "row", "rows"), len(left.rows))
	}
}
