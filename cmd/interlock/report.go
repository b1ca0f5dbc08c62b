package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/reports"
)

type reportCommand struct {
	File     string `arg:"" help:"A run file, as interlock-out/run.json; '-' is standard input."`
	JUnit    string `help:"Write JUnit XML to this file; '-' is standard output." name:"junit" placeholder:"FILE"`
	Markdown string `help:"Write Markdown to this file; '-' is standard output." placeholder:"FILE"`
	SARIF    string `help:"Write the findings of a gate as SARIF to this file; '-' is standard output." name:"sarif" placeholder:"FILE"`
}

func (c *reportCommand) Run(_ context.Context, out *output) error {
	run, err := readRun(c.File)
	if err != nil {
		return err
	}
	run = out.shown(run)
	if c.JUnit == "" && c.Markdown == "" && out.HTML == "" && c.SARIF == "" {
		return out.print(run)
	}
	return errors.Join(out.render(c.JUnit, reports.JUnit, run), out.render(c.Markdown, reports.Markdown, run),
		out.render(out.HTML, reports.HTML, run), out.render(c.SARIF, reports.SARIF, run))
}

// shown returns what is shown of a run.
func (o *output) shown(run history.Run) history.Run {
	if o.Redact {
		return reports.Redact(run)
	}
	return run
}

// render writes one form of a run to a file; "-" is standard output, and nothing is nowhere.
func (o *output) render(path string, render reports.Renderer, run history.Run) error {
	switch path {
	case "":
		return nil
	case "-":
		return render(o.stdout, run)
	}
	return history.WriteFile(path, func(w io.Writer) error { return render(w, run) })
}

// saveAndPrint writes a run file, and beside it the run as a page for a browser, and prints the run.
func (o *output) saveAndPrint(path string, run history.Run) error {
	page, shown := strings.TrimSuffix(path, filepath.Ext(path))+".html", o.shown(run)
	return errors.Join(history.Save(path, run), o.render(page, reports.HTML, shown), o.render(o.HTML, reports.HTML, shown), o.print(shown))
}
