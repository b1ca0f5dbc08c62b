package main

import (
	"fmt"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/migrations"
	"github.com/interlock-pg/interlock/scenarios"
)

type listCommand struct{}

func (listCommand) Run(out *output) error {
	w := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SCENARIO/DEFENCE\tWHAT IT IS")
	for _, one := range scenarios.Workloads(scenarios.Options{}) {
		says := one.Says
		if scenarios.IsControl(one) {
			says += " (negative control)"
		}
		fmt.Fprintf(w, "%s\t%s\n", one.FullName(), says)
	}
	fmt.Fprintln(w, "\nINVARIANT\tWHAT MUST HOLD")
	for _, inv := range scenarios.Invariants(0) {
		fmt.Fprintf(w, "%s\t%s\n", inv.Name, inv.Says)
	}
	fmt.Fprintln(w, "\nMIGRATION\tWHAT IT DOES")
	for _, m := range migrations.Embedded().Migrations {
		fmt.Fprintf(w, "%d\t%s\n", m.Version, m.Label())
	}
	return w.Flush()
}

type versionCommand struct{}

func (versionCommand) Run(out *output) error {
	tool := harness.Tool()
	_, err := fmt.Fprintf(out.stdout, "interlock %s (%s, %s/%s)\n", tool.Version, strings.TrimPrefix(runtime.Version(), "go"), tool.OS, tool.Arch)
	return err
}
