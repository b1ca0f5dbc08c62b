package desk

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/sqltext"
	"github.com/interlock-pg/interlock/harness/wire"
)

// The kinds of an [Event] that are none of package wire's.
const (
	Waits  wire.EventKind = "waits"  // the step waits for a lock
	Unread wire.EventKind = "unread" // lines were left out here, because nobody read those before them
)

// Event is a line of the trace.
type Event struct {
	At history.Duration `json:"at"` // since the desk was opened
	wire.Event
	Lock     string   `json:"lock,omitempty"`      // that a step waits for, in words
	WaitsFor []string `json:"waits_for,omitempty"` // the sessions that are in its way
	Lines    int      `json:"lines,omitempty"`     // that were left out
}

// tell tells an event in a line. The caller holds mu.
func (d *Desk) tell(s *session, e Event) {
	e.At = history.Since(d.started)
	if d.config.Redact != nil {
		e.Event = d.config.Redact(e.Event)
	}
	if d.config.JSON {
		line, err := json.Marshal(e)
		if err == nil {
			d.trace.add(append(line, '\n'))
		}
		return
	}
	if says := d.says(s, e); says != "" {
		line := fmt.Sprintf("%9.3f s  %-18s  %s", time.Duration(e.At).Seconds(), s.who(), says)
		d.trace.add([]byte(shortened(line, d.config.Width) + "\n"))
	}
}

// gap is what stands where lines were left out.
func (d *Desk) gap(lines int) []byte {
	at := history.Since(d.started)
	if d.config.JSON {
		line, _ := json.Marshal(Event{At: at, Event: wire.Event{Kind: Unread}, Lines: lines})
		return append(line, '\n')
	}
	return fmt.Appendf(nil, "%9.3f s  %s\n", time.Duration(at).Seconds(), leftOut(lines))
}

func leftOut(lines int) string {
	return fmt.Sprintf("nobody read for a while: lines that are left out here: %d", lines)
}

// who is what a session is called.
func (s *session) who() string { return fmt.Sprintf("%d %s (%d)", s.number, s.name, s.pid) }

// says is an event in words; empty: there is nothing to say.
func (d *Desk) says(s *session, e Event) string {
	n := e.Step.Index
	switch e.Kind {
	case wire.Started:
		return "connected"
	case wire.Held:
		return fmt.Sprintf("%d  held: %s", n, statement(e.Step))
	case wire.Released:
		if s.held == n {
			return fmt.Sprintf("%d  goes on", n)
		}
		return fmt.Sprintf("%d  %s", n, statement(e.Step))
	case wire.Answered:
		return fmt.Sprintf("%d  → %s", n, result(e.Step, e.Result))
	case Waits:
		says := wait{lock: e.Lock}.words(e.WaitsFor)
		if n > 0 {
			says = fmt.Sprintf("%d  %s", n, says)
		}
		return says
	case wire.Noticed:
		return fmt.Sprintf("%s: %s", e.Notice.Severity, printable(e.Notice.Message))
	case wire.Canceled:
		return "asks to cancel"
	case wire.Gone:
		if !s.cut {
			return "disconnected"
		}
	case wire.Closed:
		return s.ended()
	}
	return ""
}

// ended says how a session did; empty: that has been said.
func (s *session) ended() string {
	switch fatal := s.wire.State().Fatal; {
	case s.cut:
		return "cut off"
	case fatal.Err():
		return fmt.Sprintf("ended by the server: %s: %s", fatal.SQLState, printable(fatal.Message))
	case !s.gone:
		return "disconnected"
	}
	return ""
}

// statement is a step in words, on one line.
func statement(s wire.Step) string {
	var b strings.Builder
	for _, passed := range s.Passed {
		if passed = oneLine(passed); passed != "" { // else a ping
			b.WriteString(passed + "; ")
		}
	}
	switch s.Kind {
	case wire.Commit, wire.Rollback:
		b.WriteString(string(s.Kind))
		return b.String()
	case wire.Prepare, wire.Bind:
		b.WriteString(string(s.Kind) + " ")
	}
	b.WriteString(oneLine(s.SQL))
	for i, p := range s.Parameters {
		value := p.String()
		if !p.Null {
			value = "'" + shortened(printable(value), longestValue) + "'"
		}
		fmt.Fprintf(&b, "%s$%d = %s", []string{" · ", ", "}[min(i, 1)], i+1, value)
	}
	if s.Level != wire.ReadCommitted && s.Level != "" {
		fmt.Fprintf(&b, " (%s)", s.Level)
	}
	return b.String()
}

// longestValue is how many characters of a parameter are shown.
const longestValue = 60

// result is an answer in words.
func result(s wire.Step, r wire.Result) string {
	switch {
	case r.Canceled:
		return "cancelled while it was held: the server did not get it"
	case r.Lost:
		return "the connection ended without an answer: whether it took place is not known"
	case r.SQLState != "":
		return fmt.Sprintf("%s: %s", r.SQLState, printable(r.Message))
	case s.Kind == wire.Rollback, s.Kind == wire.Commit && r.Tag == "ROLLBACK":
		return "rolled back"
	case s.Kind == wire.Commit:
		return "committed"
	case r.Suspended:
		return fmt.Sprintf("%d rows, and there are more", r.Rows)
	case r.Tag == "":
		return "done"
	}
	return r.Tag
}

// oneLine is SQL without its comments and line ends.
func oneLine(sql string) string {
	return strings.TrimRight(printable(strings.TrimSpace(sqltext.Bare(sql))), "; ")
}

// printable is a text with nothing in it that does something to a terminal.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case unicode.IsControl(c), unicode.Is(unicode.Cf, c):
			return unicode.ReplacementChar
		}
		return c
	}, s)
}

// shortened is a text of at most so many characters.
func shortened(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}
