package main

import (
	"io"
	"os"

	"golang.org/x/term"

	"github.com/interlock-pg/interlock/reports"
)

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// style says how to print on standard output: in colour on a terminal, unless NO_COLOR is set, and as wide as it is.
func (o *output) style() reports.Style {
	style := reports.Style{Width: 100}
	if !isTerminal(o.stdout) {
		return style
	}
	style.Color = os.Getenv("NO_COLOR") == ""
	if width, _, err := term.GetSize(int(o.stdout.(*os.File).Fd())); err == nil && width > 0 {
		style.Width = width
	}
	return style
}
