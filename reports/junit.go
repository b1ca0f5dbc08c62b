package reports

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
)

type junitSuites struct {
	XMLName  xml.Name `xml:"testsuites"`
	Name     string   `xml:"name,attr"`
	Tests    int      `xml:"tests,attr"`
	Failures int      `xml:"failures,attr"`
	Errors   int      `xml:"errors,attr"`
	Time     string   `xml:"time,attr"`
	Suites   []junitSuite
}

type junitSuite struct {
	XMLName    xml.Name        `xml:"testsuite"`
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"`
	Timestamp  string          `xml:"timestamp,attr"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class   string      `xml:"classname,attr"`
	Name    string      `xml:"name,attr"`
	Time    string      `xml:"time,attr"`
	Failure *junitFault `xml:"failure"`
	Error   *junitFault `xml:"error"`
	Skipped *junitSkip  `xml:"skipped"`
	Says    string      `xml:"system-out,omitempty"`
}

type junitFault struct {
	Type    string `xml:"type,attr"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

type junitSkip struct {
	Message string `xml:"message,attr"`
}

// JUnit writes JUnit XML with a test case for each thing that was judged. What is not as it must be is a failure, with its timeline, its
// offending rows and the command that repeats it; what is unknown is an error, so it never passes. A negative control that was caught passes.
// A migration that was judged is a suite of its own, with a case a trial.
func JUnit(w io.Writer, run history.Run) error {
	s := tell(run)
	suite := junitSuite{
		Name: "interlock " + clean(string(run.Kind)), Time: seconds(run.Elapsed),
		Timestamp: run.Started.UTC().Format("2006-01-02T15:04:05"), Properties: properties(run),
	}
	for _, it := range s.items {
		if s.pages != nil && it.group == "gate" {
			continue // it has a suite of its own
		}
		name := strings.TrimPrefix(strings.TrimPrefix(it.name, it.group+"/"), it.group+" ")
		c := junitCase{Class: it.group, Name: name, Time: seconds(it.took)}
		fault := &junitFault{Message: plainly(strings.Join(it.notes, "; "))}
		switch it.tone {
		case bad:
			fault.Type, fault.Text = "not as it must be", details(it)
			c.Failure = fault
			suite.Failures++
		case open:
			fault.Type, fault.Text = "unknown", details(it)
			c.Error = fault
			suite.Errors++
		default:
			c.Says = plainly(strings.Join(append([]string{it.brief}, it.notes...), "\n"))
		}
		suite.Cases = append(suite.Cases, c)
	}
	suite.Tests = len(suite.Cases)
	all := junitSuites{Name: "interlock", Time: suite.Time}
	for _, pg := range s.pages {
		one := pg.suite()
		one.Timestamp, one.Properties = suite.Timestamp, suite.Properties
		all.Suites = append(all.Suites, one)
	}
	if s.pages == nil || suite.Tests > 0 {
		all.Suites = append(all.Suites, suite)
	}
	for _, one := range all.Suites {
		all.Tests, all.Failures, all.Errors = all.Tests+one.Tests, all.Failures+one.Failures, all.Errors+one.Errors
	}

	var b bytes.Buffer
	b.WriteString(xml.Header)
	enc := xml.NewEncoder(&b)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return fmt.Errorf("writing JUnit XML: %w", err)
	}
	b.WriteByte('\n')
	return write(w, b.Bytes())
}

// properties says what the run was made with.
func properties(run history.Run) []junitProperty {
	all := []junitProperty{
		{"verdict", string(run.Verdict)},
		{"seed", strconv.FormatInt(run.Seed, 10)},
		{"interlock", run.Tool.Version},
		{"go", run.Tool.Go},
		{"postgres", run.Server.Release},
		{"provider", run.Server.Provider},
		{"command", command(run.Command)},
	}
	for _, m := range run.Migrations {
		all = append(all, junitProperty{fmt.Sprintf("migration %d", m.Version), strings.TrimSpace(m.Label + " " + m.Checksum)})
	}
	for i := range all {
		all[i].Value = clean(all[i].Value)
	}
	return all
}

// details returns what the console says of an item, without colour.
func details(it item) string {
	var p printer
	p.Width = 100
	for _, note := range it.notes {
		p.line(note)
	}
	for _, proof := range it.proofs {
		p.line("")
		p.proof(proof)
	}
	return p.String()
}

func plainly(s string) string { return strings.ReplaceAll(s, nbsp, " ") }

func seconds(d history.Duration) string {
	return fmt.Sprintf("%.3f", max(0, time.Duration(d).Seconds()))
}
