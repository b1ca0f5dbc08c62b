// Package reports renders a run: for a terminal, as JUnit XML, as Markdown, as a page for a browser, as JSON, and as annotations of a
// GitHub job.
//
// Every renderer works from the run file alone, offline. What there is to say about a run is decided once, in a story; the renderers only
// decide how it looks.
package reports

import (
	"io"

	"github.com/interlock-pg/interlock/harness/history"
)

// Renderer writes one run to w in its own format, in one call of Write. It reads the run and changes nothing in it.
type Renderer func(w io.Writer, run history.Run) error
