package reports_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"html"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/reports"
)

var update = flag.Bool("update", false, "write the golden files anew")

func renderers() map[string]reports.Renderer {
	return map[string]reports.Renderer{
		"txt": reports.Console(reports.Style{}), "color.txt": reports.Console(reports.Style{Color: true}),
		"xml": reports.JUnit, "md": reports.Markdown, "annotations": reports.Annotations, "json": reports.JSON,
	}
}

func render(t testing.TB, r reports.Renderer, run history.Run) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, r(&b, run))
	return b.String()
}

func TestGolden(t *testing.T) {
	for name, run := range samples() {
		for suffix, r := range renderers() {
			if suffix == "json" || suffix == "color.txt" && name != "violated" {
				continue // history's tests have the one; one look at the other is enough
			}
			t.Run(name+"."+suffix, func(t *testing.T) {
				got, path := render(t, r, run), filepath.Join("testdata", name+"."+suffix)
				if *update {
					require.NoError(t, os.MkdirAll("testdata", 0o755))
					require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
				}
				want, err := os.ReadFile(path)
				require.NoError(t, err, "try: go test ./reports -update")
				require.Equal(t, string(want), got)
			})
		}
	}
}

func TestJSONIsTheRunFile(t *testing.T) {
	for name, run := range samples() {
		var b bytes.Buffer
		require.NoError(t, history.Encode(&b, run))
		got, err := history.Decode(strings.NewReader(render(t, reports.JSON, run)))
		require.NoError(t, err, name)
		want, err := history.Decode(&b)
		require.NoError(t, err, name)
		require.Equal(t, render(t, reports.JSON, want), render(t, reports.JSON, got), name)
	}
}

// onlyText reports whether s holds printable characters and line breaks only.
func onlyText(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return c != '\n' && c != '\u200d' && !unicode.IsPrint(c) }) < 0
}

// Nothing in a run may reach a terminal, a page or a job's log as anything but text.
func TestContentStaysContent(t *testing.T) {
	servertest.Slow(t)
	sgr := regexp.MustCompile(`\x1b\[[0-9;]*m`)
	for name, run := range samples() {
		for suffix, r := range renderers() {
			if suffix == "json" {
				continue
			}
			out := render(t, r, run)
			if suffix == "color.txt" {
				out = sgr.ReplaceAllString(out, "")
			}
			require.True(t, onlyText(out), "%s.%s", name, suffix)
			require.NotContains(t, out, "secret", "%s.%s", name, suffix)
		}
	}
	page := render(t, reports.Markdown, nastyRun())
	require.NotContains(t, page, "<script")
	require.NotContains(t, page, "](")
	require.Contains(t, html.UnescapeString(page), "<script>alert('x')</script> &amp; ]]>")
}

func TestColourCarriesNoMeaning(t *testing.T) {
	sgr := regexp.MustCompile(`\x1b\[[0-9;]*m`)
	for name, run := range samples() {
		plain := render(t, reports.Console(reports.Style{}), run)
		require.NotContains(t, plain, "\x1b", name)
		require.Equal(t, plain, sgr.ReplaceAllString(render(t, reports.Console(reports.Style{Color: true}), run), ""), name)
	}
	require.NotContains(t, render(t, reports.Console(reports.Style{Color: true}), defaultRun()), "\x1b[1;31m", "a caught control is no alarm")
}

func TestConsoleStaysWithinItsWidth(t *testing.T) {
	copied := regexp.MustCompile(`^  (Again|As (psql|spec|go)|File|Database kept): `)
	widths := []int{40, 100}
	if servertest.Thorough() {
		widths = []int{40, 60, 80, 100, 160}
	}
	for name, run := range samples() {
		for _, columns := range widths {
			for line := range strings.Lines(render(t, reports.Console(reports.Style{Width: columns}), run)) {
				line = strings.TrimSuffix(line, "\n")
				if copied.MatchString(line) || reports.Width(line) > columns && holdsCode(run, line) {
					continue // to be copied
				}
				require.LessOrEqual(t, reports.Width(line), columns, "%s in %d: %s", name, columns, line)
			}
		}
	}
}

func TestManyMigrationsAndOne(t *testing.T) {
	run := defaultRun()
	for v := int64(4); v <= 10; v++ {
		run.Migrations = append(run.Migrations, history.Migration{Version: v, Label: "a later one"})
		for _, cell := range run.Cells {
			if cell.At == 3 {
				cell.At = v
				run.Cells = append(run.Cells, cell)
			}
		}
	}
	out := render(t, reports.Console(reports.Style{}), run)
	for _, head := range []string{"at 1 base", "at 3", "at 10"} {
		require.Equal(t, 2, strings.Count(out, head), head) // once a scenario
	}
	run.Migrations, run.Cells = run.Migrations[:1], run.Cells[:1]
	require.Contains(t, render(t, reports.Console(reports.Style{Width: 50}), run), "at 1 base")
}

func TestJUnitIsParsedBack(t *testing.T) {
	type suite struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Cases    []struct {
			Name    string  `xml:"name,attr"`
			Class   string  `xml:"classname,attr"`
			Failure *string `xml:"failure"`
			Error   *string `xml:"error"`
		} `xml:"testsuite>testcase"`
	}
	read := func(run history.Run) (s suite) {
		require.NoError(t, xml.Unmarshal([]byte(render(t, reports.JUnit, run)), &s))
		require.Len(t, s.Cases, s.Tests)
		return s
	}
	all := read(defaultRun())
	require.Equal(t, []int{42, 0, 0}, []int{all.Tests, all.Failures, all.Errors})
	require.Equal(t, "sessions", all.Cases[0].Class)
	require.Equal(t, "none at 1", all.Cases[0].Name)

	broken := read(violatedRun())
	require.Equal(t, 1, broken.Failures)
	for _, c := range broken.Cases {
		if c.Failure != nil {
			require.Contains(t, *c.Failure, "00:12:00")
			require.Contains(t, *c.Failure, "Again: interlock replay interlock-out/schedules-constraint-3.json\n")
		}
	}
	require.Equal(t, 1, read(missedRun()).Failures)
	require.Equal(t, 3, read(unknownRun()).Errors, "two cells and the run that was cut short")
	require.Equal(t, 1, read(history.Run{}).Errors, "a run of nothing never passes")
	require.Equal(t, 1, read(replayRun(10)).Failures)
	require.Equal(t, 1, read(replayRun(0)).Errors)
	require.Zero(t, read(checkRun(false)).Failures)
	require.Equal(t, 3, read(checkRun(true)).Failures)
	require.NotZero(t, read(nastyRun()).Failures)

	explored := read(exploreViolated())
	require.Equal(t, []int{3, 2, 0}, []int{explored.Tests, explored.Failures, explored.Errors}, "a case for each invariant")
	require.Equal(t, "schedules/none at 2", explored.Cases[0].Class)
	require.Equal(t, "S2", explored.Cases[0].Name)
	require.Contains(t, *explored.Cases[0].Failure, "✗ S2 and S4 broken here")
	require.Equal(t, 5, read(exploreUnknown()).Errors)
	require.Zero(t, read(exploreHeld()).Failures+read(exploreHeld()).Errors)
	require.Equal(t, 1, read(replayedRun(history.Violated, "")).Failures)
	require.Zero(t, read(replayedRun(history.Held, "")).Errors)
	require.Equal(t, 1, read(replayedRun(history.Unknown, "no such scenario")).Errors)
}

func TestMarkdownTablesAreEven(t *testing.T) {
	for name, run := range samples() {
		columns := 0
		for line := range strings.Lines(render(t, reports.Markdown, run)) {
			if !strings.HasPrefix(line, "|") {
				columns = 0
				continue
			}
			if columns == 0 {
				columns = strings.Count(line, "|")
			}
			require.Equal(t, columns, strings.Count(line, "|"), "%s: %s", name, line)
		}
	}
}

func TestMarkdownStaysBelowWhatGitHubTakes(t *testing.T) {
	run := violatedRun()
	cell := at(run, "schedules", "constraint", 3)
	for range 1000 {
		cell.Counterexamples = append(cell.Counterexamples, counterexample())
	}
	out := render(t, reports.Markdown, run)
	require.Less(t, len(out), 1<<20)
	require.Contains(t, out, "counterexamples did not fit here")
}

func TestUnknownIsNeverHeld(t *testing.T) {
	held := func(run history.Run) bool {
		return strings.Contains(render(t, reports.Console(reports.Style{}), run), "As expected: ")
	}
	require.True(t, held(defaultRun()))
	sample := defaultRun()
	sample.Cells[6].Explorations = []history.Exploration{{Clients: 2, Executed: 5000, Sample: true}}
	require.True(t, held(sample), "it has rounds, and was not meant to be complete")
	for name, change := range map[string]func(*history.Run){
		"the run is unknown":         func(r *history.Run) { r.Verdict = history.Unknown },
		"the run has no verdict":     func(r *history.Run) { r.Verdict = "" },
		"the run is violated":        func(r *history.Run) { r.Verdict = history.Violated },
		"the run was cut short":      func(r *history.Run) { r.Trouble = "interrupted" },
		"nothing was run":            func(r *history.Run) { r.Cells = nil },
		"a cell was not judged":      func(r *history.Run) { r.Cells[6].Invariants = nil },
		"a cell is unknown":          func(r *history.Run) { r.Cells[6].Verdict = history.Unknown },
		"a cell had no round":        func(r *history.Run) { r.Cells[6].Coverage.Rounds = 0 },
		"a cell met trouble":         func(r *history.Run) { r.Cells[6].Trouble = "panic" },
		"a cell is not as expected":  func(r *history.Run) { r.Cells[6].AsExpected = false },
		"an invariant is unknown":    func(r *history.Run) { r.Cells[6].Invariants[1].Verdict = history.Unknown },
		"an invariant has nonsense":  func(r *history.Run) { r.Cells[6].Invariants[1].Verdict = "sure" },
		"one that may be is unknown": func(r *history.Run) { r.Cells[6].Invariants[1] = history.Judgement{Invariant: "S9"} },
		"a sample met trouble": func(r *history.Run) {
			r.Cells[6].Explorations = []history.Exploration{{Clients: 2, Executed: 5000, Sample: true, Trouble: "panic"}}
		},
		"an exploration stopped": func(r *history.Run) { r.Cells[6].Explorations = []history.Exploration{{Clients: 2, Executed: 5000}} },
	} {
		run := defaultRun()
		change(&run)
		require.False(t, held(run), name)
	}
}

func TestAnExplorationHoldsOnlyWhenItIsComplete(t *testing.T) {
	holds := func(run history.Run) bool {
		return strings.Contains(render(t, reports.Console(reports.Style{}), run), "\nAll 12 interleavings of 2 clients hold ")
	}
	require.True(t, holds(exploreHeld()))
	for name, change := range map[string]func(*history.Run){
		"the run is unknown":      func(r *history.Run) { r.Verdict = history.Unknown },
		"the run was cut short":   func(r *history.Run) { r.Trouble = "interrupted" },
		"the cell is unknown":     func(r *history.Run) { r.Cells[0].Verdict = history.Unknown },
		"the cell met trouble":    func(r *history.Run) { r.Cells[0].Trouble = "panic" },
		"nothing was judged":      func(r *history.Run) { r.Cells[0].Invariants = nil },
		"an invariant is unknown": func(r *history.Run) { r.Cells[0].Invariants[1].Verdict = history.Unknown },
		"an invariant broke":      func(r *history.Run) { r.Cells[0].Invariants[1].Verdict = history.Violated },
		"nothing was explored":    func(r *history.Run) { r.Cells[0].Explorations = nil },
		"the search stopped":      func(r *history.Run) { r.Cells[0].Explorations = []history.Exploration{{Clients: 2, Executed: 12}} },
	} {
		run := exploreHeld()
		change(&run)
		require.False(t, holds(run), name)
	}
}

func TestLongStatementsAreShortenedOnTheConsoleOnly(t *testing.T) {
	run := exploreViolated()
	var columns []string
	for i := range 100 {
		columns = append(columns, "column_"+strings.Repeat("x", i%7))
	}
	s := &run.Cells[0].Counterexamples[0].Interleaving.Steps[0]
	s.SQL = "insert into t (" + strings.Join(columns, ", ") + ") values ($1)"
	s.Parameters, s.Types = texts("the last"), nil
	out := render(t, reports.Console(reports.Style{}), run)
	require.Regexp(t, `\n +…\n`, out)
	require.NotContains(t, out, strings.Join(columns[40:44], ", "))
	require.Contains(t, out, "'the last'")
	page := html.UnescapeString(render(t, reports.Markdown, run))
	require.Contains(t, page, strings.Join(columns, ", ")+") values ('the last')")
}

func TestClientsStandBesideEachOtherWhereTheyFit(t *testing.T) {
	beside := func(run history.Run, columns int) bool {
		out := render(t, reports.Console(reports.Style{Width: columns}), run)
		return regexp.MustCompile(`\n +A: .*  B: `).MatchString(out)
	}
	require.True(t, beside(exploreViolated(), 100))
	require.True(t, beside(exploreViolated(), 80))
	require.False(t, beside(exploreViolated(), 60))
	require.True(t, beside(exploreDeadlock(), 100))
	require.False(t, beside(exploreDeadlock(), 80))
	require.False(t, beside(exploreFour(), 300))
}

func TestAViolationWithoutACounterexampleStillHasItsTimeline(t *testing.T) {
	run := violatedRun()
	cell := at(run, "schedules", "constraint", 3)
	cell.Counterexamples, cell.Rounds = nil, []history.Round{{Number: 1}, race()}
	out := render(t, reports.Console(reports.Style{}), run)
	require.Contains(t, out, "00:12:00")
	require.Contains(t, out, "Round 17, as it was met")
	require.True(t, strings.HasSuffix(out, "Again: interlock run --seed 7341\n"))
}

func TestManyOperationsAreCutAndSaidSo(t *testing.T) {
	run := violatedRun()
	cx := &at(run, "schedules", "constraint", 3).Counterexamples[0]
	for range 100 {
		cx.Round.Operations = append(cx.Round.Operations, cx.Round.Operations[1])
	}
	require.Contains(t, render(t, reports.Console(reports.Style{}), run), "the first 30 operations; 73 more are in the run file")
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAFailedWriteIsAnError(t *testing.T) {
	for name, r := range renderers() {
		require.ErrorContains(t, r(full{}, violatedRun()), "no space left", name)
	}
}

func TestRenderersChangeNothing(t *testing.T) {
	run := nastyRun()
	before := render(t, reports.JSON, run)
	for _, r := range renderers() {
		require.NoError(t, r(io.Discard, run))
	}
	require.Equal(t, before, render(t, reports.JSON, run))
}

// check renders run in every way and looks at what no run may change.
func check(t *testing.T, run history.Run) {
	for name, r := range renderers() {
		var b bytes.Buffer
		require.NoError(t, r(&b, run), name)
		switch name {
		case "xml":
			require.NoError(t, xml.Unmarshal(b.Bytes(), new(struct{})))
		case "annotations":
			for line := range strings.Lines(b.String()) {
				require.Regexp(t, "^::(error|warning|notice) ((file|line|col)=[^,:]+,)*title=[^,:]*::", line)
			}
		}
		if name != "json" && name != "color.txt" {
			require.True(t, onlyText(b.String()), "%s: %q", name, b.String())
		}
	}
}

func TestAnyRun(t *testing.T) {
	servertest.Slow(t)
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		var run history.Run
		fill(random, reflect.ValueOf(&run).Elem())
		check(t, run)
	}
}

// fill puts something into everything that v holds; of what is a closed set, a member more often than not.
func fill(random *rand.Rand, v reflect.Value) {
	words := append(slices.Clone(nasty), "held", "violated", "unknown", "hold", "break", "run", "explore", "replay", "check", "statement", "commit", "waits", "failed", "S1", "S1", "A", "B", "none")
	switch v.Interface().(type) {
	case time.Time:
		return
	case json.RawMessage:
		v.SetBytes(raw(words[random.IntN(len(words))]))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(words[random.IntN(len(words))])
	case reflect.Int, reflect.Int64:
		v.SetInt([]int64{0, 1, 2, 3, 1000, -1, math.MaxInt32, math.MinInt32}[random.IntN(8)])
	case reflect.Bool:
		v.SetBool(random.IntN(2) == 0)
	case reflect.Pointer:
		if random.IntN(4) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(random, v.Elem())
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), random.IntN(4), 4))
		for i := range v.Len() {
			fill(random, v.Index(i))
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(random, key)
		fill(random, value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(random, v.Field(i))
		}
	}
}

func FuzzRenderers(f *testing.F) {
	f.Add([]byte(`{"format":1,"cells":[{"invariants":[{"invariant":"S1","verdict":"held"}]}]}`))
	f.Add([]byte(`{"format":1,"kind":"replay","cells":[{"rounds":[{}],"counterexamples":[{"round":{"operations":[{"client":"A"}]}}]}]}`))
	f.Add([]byte(`{"format":1,"kind":"check","check":{"invariants":[{"rows":{"columns":["a"],"rows":[[null,"x"],[]]}}],"indexes":[{}]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		run, err := history.Decode(bytes.NewReader(raw))
		if err == nil {
			check(t, run)
		}
	})
}
