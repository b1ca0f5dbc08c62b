package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/server/auto"
)

type doctorCommand struct{}

func (doctorCommand) Run(ctx context.Context, out *output, pg *postgres) error {
	config := pg.config(out)
	config.Log = nil
	findings := auto.Probe(ctx, config)
	works := false
	w := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WAY\tWORKS\tVERSION\tREADY\tWHERE, OR WHY NOT")
	for _, f := range findings {
		if f.Works {
			works = true
			fmt.Fprintf(w, "%s\tyes\t%s\t%s\t%s\n", f.Way, f.Release, history.Duration(f.Ready).Short(), f.Where)
			continue
		}
		fmt.Fprintf(w, "%s\tno\t\t\t%s\n", f.Way, redact(f.Why))
		if f.Try != "" {
			fmt.Fprintf(w, "\t\t\t\ttry: %s\n", f.Try)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if !works {
		return exit{exitCouldNotRun, nil}
	}
	return nil
}
