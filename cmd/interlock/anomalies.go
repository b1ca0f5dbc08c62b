package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/isolation/anomalies"
)

// exploreAnomalies has the run explore the classical anomalies, and judge by what PostgreSQL documents.
func exploreAnomalies(config *harness.Config) {
	config.Workloads, config.Expected = anomalies.Workloads(), true
	config.Stages = []harness.Stage{{Apply: anomalies.Apply}}
}

// areAnomalies reports whether a run is of the anomalies, and of nothing else.
func areAnomalies(run history.Run) bool {
	ours := func(c history.Cell) bool {
		return slices.Contains(anomalies.Levels(), anomalies.Level(c.Variant)) &&
			slices.ContainsFunc(anomalies.All(), func(a anomalies.Anomaly) bool { return a.Name == c.Scenario })
	}
	return run.Kind == history.KindRun && len(run.Cells) > 0 && !slices.ContainsFunc(run.Cells, func(c history.Cell) bool { return !ours(c) })
}

// matrix prints which anomalies a server permits at which level.
func matrix(w io.Writer, run history.Run) error {
	cells := map[string]history.Cell{}
	for _, c := range run.Cells {
		cells[c.Name()] = c
	}
	var b strings.Builder
	row := func(name string, say func(anomalies.Level) string) {
		line := fmt.Sprintf("%-10s", name)
		for _, level := range anomalies.Levels() {
			line += fmt.Sprintf("%-29s", say(level))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	fmt.Fprintf(&b, "What transactions can do to each other: PostgreSQL %s\n\n", run.Server.Release)
	row("", func(level anomalies.Level) string { return strings.ToLower(level.SQL()) })
	for _, a := range anomalies.All() {
		row(a.Name, func(level anomalies.Level) string { return found(cells[a.Name+"/"+string(level)]) })
		fmt.Fprintf(&b, "%10s%s\n", "", a.Says)
	}
	b.WriteString("\n" + conclusion(run))
	_, err := io.WriteString(w, b.String())
	return err
}

// found says what was found of an anomaly at a level. What is not as documented is marked.
func found(c history.Cell) string {
	executed, mark := 0, ""
	for _, e := range c.Explorations {
		executed += e.Executed
	}
	if !c.AsExpected {
		mark = "!! "
	}
	switch x := c.Example(c.Scenario); {
	case c.Verdict == history.Violated && x != nil:
		return fmt.Sprintf("%spossible (order %d of %d)", mark, x.Order, executed)
	case c.Verdict == history.Held:
		return fmt.Sprintf("%sabsent in all %d", mark, executed)
	}
	return fmt.Sprintf("? unknown after %d", executed)
}

// conclusion says whether all is as PostgreSQL documents it, and how to repeat what was found.
func conclusion(run history.Run) string {
	possible, unknown := 0, 0
	var wrong []string
	again := ""
	for _, c := range run.Cells {
		switch c.Verdict {
		case history.Violated:
			possible++
		case history.Unknown:
			unknown++
			continue
		}
		if !c.AsExpected {
			wrong = append(wrong, c.Name())
		}
		if len(c.Counterexamples) > 0 && again == "" {
			again = c.Counterexamples[0].Again
		}
	}
	var says string
	switch {
	case len(wrong) > 0:
		says = "!! Not as PostgreSQL documents: " + strings.Join(wrong, ", ") + ".\n"
	case run.Trouble != "":
		says = "? Cut short: " + run.Trouble + "\n"
	case unknown > 0:
		says = fmt.Sprintf("? %d of %d unknown; try it without --limit and --for.\n", unknown, len(run.Cells))
	default:
		says = fmt.Sprintf("As PostgreSQL documents: %d of %d possible, and the others absent in every order that it can tell apart.\n", possible, len(run.Cells))
	}
	if again != "" {
		says += "What is possible has a file each that repeats it, as: " + again + "\n"
	}
	return says
}
