package reports_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"html"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/reports"
)

// holdsCode reports whether a line of the console holds the path of a migration, or code that is to be copied, which are not broken.
func holdsCode(run history.Run, line string) bool {
	if run.Gate == nil {
		return false
	}
	var code []string
	for _, j := range run.Gate.Migrations {
		code = append(code, reports.Clean(j.Path)+":")
		for _, f := range j.Findings {
			code = append(code, strings.Split(f.Query+"\n"+f.Repair, "\n")...)
			if f.Rewrite != nil {
				code = append(code, strings.Split(f.Rewrite.SQL, "\n")...)
			}
		}
	}
	for _, one := range code {
		one = strings.TrimSpace(strings.ReplaceAll(one, "\t", "    "))
		if len(one) > 4 && (strings.HasSuffix(line, reports.Clean(one)) || strings.HasSuffix(line, reports.Plain(one))) {
			return true
		}
	}
	return false
}

func console(t testing.TB, run history.Run) string {
	t.Helper()
	return render(t, reports.Console(reports.Style{}), run)
}

func TestAMigrationShipsOnlyIfAllSaysSo(t *testing.T) {
	ships := func(run history.Run) bool {
		return strings.Contains(console(t, run), "\n2 migrations judged: 2 may ship.")
	}
	require.True(t, ships(recorded("gate-clean")), "warnings, and what is silenced, do not count")
	for name, change := range map[string]func(*history.Run, *history.Judged){
		"the run is unknown":     func(r *history.Run, _ *history.Judged) { r.Verdict = history.Unknown },
		"the run has no verdict": func(r *history.Run, _ *history.Judged) { r.Gate.Migrations[0].Verdict = "" },
		"the run is violated":    func(r *history.Run, _ *history.Judged) { r.Verdict = history.Violated },
		"the run was cut short":  func(r *history.Run, _ *history.Judged) { r.Trouble = "interrupted" },
		"nothing was judged": func(r *history.Run, _ *history.Judged) {
			r.Verdict, r.Gate.Migrations = history.Unknown, nil
		},
		"there is no gate":              func(r *history.Run, _ *history.Judged) { r.Gate = nil },
		"one must not":                  func(_ *history.Run, j *history.Judged) { j.Verdict = history.Violated },
		"one is unknown":                func(_ *history.Run, j *history.Judged) { j.Verdict = history.Unknown },
		"one was not tried":             func(_ *history.Run, j *history.Judged) { j.Trials = nil },
		"a trial failed":                func(_ *history.Run, j *history.Judged) { j.Trials[3].State = history.TrialFailed },
		"a trial is unknown":            func(_ *history.Run, j *history.Judged) { j.Trials[3].State = history.TrialUnknown },
		"a trial is in no state":        func(_ *history.Run, j *history.Judged) { j.Trials[3].State = "" },
		"what was silenced is no more":  func(_ *history.Run, j *history.Judged) { j.Findings[1].Allowed = "" },
		"what was a warning is no more": func(_ *history.Run, j *history.Judged) { j.Findings[0].Level = history.LevelError },
	} {
		run := recorded("gate-clean")
		change(&run, &run.Gate.Migrations[0])
		require.False(t, ships(run), name)
		var all struct {
			Failures int `xml:"failures,attr"`
			Errors   int `xml:"errors,attr"`
		}
		require.NoError(t, xml.Unmarshal([]byte(render(t, reports.JUnit, run)), &all))
		require.NotZero(t, all.Failures+all.Errors, name)
		require.Regexp(t, "(?m)^::(error|warning) ", render(t, reports.Annotations, run), name)
	}
	silenced := recorded("gate-clean")
	silenced.Gate.Migrations[0].Trials[1].State = history.TrialFailed // by the finding that is silenced, and by nothing else
	require.True(t, ships(silenced))
	require.Contains(t, console(t, silenced), "populated ✗ ")
	require.NotContains(t, render(t, reports.JUnit, silenced), "<failure")
}

func TestTotals(t *testing.T) {
	run := recorded("gate-clean")
	run.Verdict = history.Violated
	run.Gate.Migrations = append(run.Gate.Migrations, recorded("gate-seed").Gate.Migrations...)
	require.Contains(t, console(t, run), "\n3 migrations judged: 2 may ship, 1 must not.")
	run.Gate.Migrations = append(run.Gate.Migrations, recorded("gate-full").Gate.Migrations[1])
	require.Contains(t, console(t, run), "\n4 migrations judged: 2 may ship, 1 must not, 1 could not be judged in full.")
	require.Contains(t, console(t, emptyGate()), "\nNo migration to judge among those not in origin/main.")
	run = recorded("gate-full")
	require.Contains(t, console(t, run), "cut short: the server changed under us")
	require.Contains(t, render(t, reports.Markdown, run), "cut short: the server changed under us")
}

func TestNotesAreShort(t *testing.T) {
	out := console(t, recorded("gate-seed"))
	require.Contains(t, out, "note: No query that is known here uses idx_inspection_schedules_active (index-unused).\n\n")
	require.NotContains(t, out, "0 scans in 400 queries")
	require.Contains(t, render(t, reports.Markdown, recorded("gate-seed")), "0 scans in 400 queries")
}

func TestOnlyWhatDidNotPassHasDetailsOnTheConsole(t *testing.T) {
	out, page := console(t, recorded("gate-seed")), render(t, reports.Markdown, recorded("gate-seed"))
	for details, shown := range map[string]bool{"52 keys planted": true, "SHARE on inspection": true, "same checksum": false} {
		require.Equal(t, shown, strings.Contains(out, details), details)
		require.Contains(t, html.UnescapeString(page), details)
	}
}

func TestKeysThatStandInTheWay(t *testing.T) {
	for name, c := range map[string]struct {
		rows, total int
		want        string // after what is shown; empty: nothing
	}{
		"all are shown":          {5, 0, ""},
		"the run file has all":   {52, 0, "… and 47 more (in the run file)"},
		"total is said":          {52, 52, "… and 47 more (in the run file)"},
		"the run file has some":  {10, 52, "… and 47 more (5 of them in the run file)"},
		"the run file has these": {5, 52, "… and 47 more\n"},
		"it has none":            {0, 52, "… and 52 more\n"},
	} {
		run := recorded("gate-seed")
		keys := run.Gate.Migrations[0].Findings[1].Keys
		keys.Rows, keys.Total = keys.Rows[:c.rows], c.total
		out := console(t, run)
		require.Contains(t, out, fmt.Sprintf("would refuse %d keys\n", max(c.rows, c.total)), name)
		if c.want == "" {
			require.NotContains(t, out, "… and", name)
		} else {
			require.Contains(t, out, c.want, name)
		}
		require.Equal(t, c.rows, strings.Count(render(t, reports.Markdown, run), "| AED-")-min(5, c.rows)*btoi(c.rows > 5), name)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestSQLIsNeverMarkup(t *testing.T) {
	page := render(t, reports.Markdown, nastyGate())
	fence, depth, blocks := "", 0, 0
	for line := range strings.SplitSeq(page, "\n") {
		switch {
		case fence != "":
			if line == fence {
				fence = ""
			}
			continue
		case strings.HasPrefix(line, "```"):
			fence = strings.TrimRight(line, "abcdefghijklmnopqrstuvwxyz")
			blocks++
		}
		depth += strings.Count(line, "<details>") - strings.Count(line, "</details>")
		require.GreaterOrEqual(t, depth, 0, line)
		for _, tag := range regexp.MustCompile(`<[^>]*>?`).FindAllString(line, -1) {
			require.Contains(t, []string{"details", "summary", "code", "br"}, strings.Trim(tag, "</>"), line)
		}
		if strings.HasPrefix(line, "#") {
			require.Regexp(t, `^### ✗ |^#### (statements|schema changes|Not covered|Silenced in the file)$`, line)
		}
	}
	require.Empty(t, fence)
	require.Zero(t, depth)
	require.Greater(t, blocks, 20)
}

func TestNothingOnTheConsoleCommandsAJob(t *testing.T) {
	for name, run := range samples() {
		for _, columns := range []int{40, 100} {
			require.NotRegexp(t, `(?m)^\s*::|##\[`, render(t, reports.Console(reports.Style{Width: columns}), run), name)
		}
	}
	run := recorded("gate-seed")
	run.Gate.Migrations[0].Findings[0].Rewrite.SQL = "SELECT x\n  ::stop-commands::y"
	require.Contains(t, console(t, run), "/**/  ::stop-commands::y", "it can still be copied")
	run.Gate.Migrations[0].Findings[2].Says = "##[error] " + strings.Repeat("word ", 18) + " ::error title=x::y ::error title=x::y ::error title=x::y"
	for columns := range 40 {
		require.NotRegexp(t, `(?m)^\s*::|##\[`, render(t, reports.Console(reports.Style{Width: 40 + columns, Color: true}), run))
	}
	require.Contains(t, render(t, reports.Markdown, run), "\n  ::stop-commands::y\n", "this one goes into a file")
}

// Every string that a gate holds is shown to people, but for those named here.
func TestNothingIsKeptFromPeople(t *testing.T) {
	kept := map[string]string{
		"Label": "the path says it", "Checksum": "says nothing to people", "Verdict": "in words", "State": "as a sign", "Level": "in words",
	}
	marks := map[string]string{}
	var mark func(v reflect.Value, path string)
	mark = func(v reflect.Value, path string) {
		switch v.Kind() {
		case reflect.String:
			name := path[strings.LastIndex(path, ".")+1:]
			if _, out := kept[name]; !out {
				word := fmt.Sprintf("marker%dx", len(marks))
				marks[word] = path
				v.SetString(word)
			}
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			mark(v.Elem(), path)
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			mark(v.Index(0), path)
		case reflect.Struct:
			for i := range v.NumField() {
				mark(v.Field(i), path+"."+v.Type().Field(i).Name)
			}
		}
	}
	for _, level := range []history.Level{history.LevelError, history.LevelWarning, history.LevelNote} {
		for _, silenced := range []bool{false, true} {
			clear(marks)
			run := history.Run{Kind: history.KindGate, Verdict: history.Unknown, Gate: &history.Gate{}}
			mark(reflect.ValueOf(run.Gate).Elem(), "Gate")
			f := &run.Gate.Migrations[0].Findings[0]
			f.Level = level
			if !silenced {
				delete(marks, f.Allowed)
				f.Allowed = ""
			}
			out, page := render(t, reports.JSON, run), render(t, reports.Markdown, run)
			require.Greater(t, len(marks), 20)
			for word, path := range marks {
				require.Contains(t, out, word, path)
				if strings.Contains(path, ".Beside.") {
					delete(marks, word) // the page draws it; the details of the trial say it
					continue
				}
				require.Contains(t, page, word, "%s of %s, silenced: %v", path, level, silenced)
			}
			if level == history.LevelError && !silenced {
				out := console(t, run)
				for word, path := range marks {
					require.Contains(t, out, word, path)
				}
			}
		}
	}
}

func TestMarkdownOfManyMigrationsStaysBelowWhatGitHubTakes(t *testing.T) {
	run := recorded("gate-seed")
	for range 400 {
		run.Gate.Migrations = append(run.Gate.Migrations, run.Gate.Migrations[0])
	}
	page := render(t, reports.Markdown, run)
	require.Less(t, len(page), 1<<20)
	require.Equal(t, 401, strings.Count(page, ": must not ship\n"), "the verdict on each stays")
	require.Equal(t, strings.Count(page, "<details>"), strings.Count(page, "</details>"))
	require.Contains(t, page, "Not everything did fit here")
}

func TestAnyGate(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		run := history.Run{Gate: &history.Gate{}}
		fill(random, reflect.ValueOf(run.Gate).Elem())
		for i := range run.Gate.Migrations {
			for n := range run.Gate.Migrations[i].Findings {
				run.Gate.Migrations[i].Findings[n].Level = []history.Level{history.LevelError, history.LevelWarning, history.LevelNote, "?"}[random.IntN(4)]
			}
		}
		run.Kind = history.KindGate
		check(t, run)
		var b bytes.Buffer
		require.NoError(t, reports.SARIF(&b, run))
		conforms(t, b.Bytes())
	}
}
