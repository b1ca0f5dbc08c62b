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
	HTML     string `help:"Write a page for a browser to this file; '-' is standard output." name:"html" placeholder:"FILE"`
	SARIF    string `help:"Write the findings of a gate as SARIF to this file; '-' is standard output." name:"sarif" placeholder:"FILE"`
}

func (c *reportCommand) Run(_ context.Context, out *output) error {
	run, err := readRun(c.File)
	if err != nil {
		return err
	}
	if c.JUnit == "" && c.Markdown == "" && c.HTML == "" && c.SARIF == "" {
		return out.print(run)
	}
	return errors.Join(out.render(c.JUnit, reports.JUnit, run), out.render(c.Markdown, reports.Markdown, run),
		out.render(c.HTML, reports.HTML, run), out.render(c.SARIF, reports.SARIF, run))
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

// saveWithPage writes a run file, and beside it the run as a page for a browser.
func saveWithPage(path string, run history.Run) error {
	page := strings.TrimSuffix(path, filepath.Ext(path)) + ".html"
	return errors.Join(history.Save(path, run), history.WriteFile(page, func(w io.Writer) error { return reports.HTML(w, run) }))
}
