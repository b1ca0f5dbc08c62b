package reports_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/reports"
)

// pages are the samples of every report, and those that only pages draw.
func pages() map[string]history.Run {
	all := samples()
	all["load-defences"], all["load-ramp"] = recorded("load-defences"), recorded("load-ramp")
	all["repair"] = repairRun()
	return all
}

func repairRun() history.Run {
	run := checkRun(false)
	run.Kind, run.Check = history.KindRepair, nil
	run.Repair = &history.Repair{Database: "postgres://me:secret@db/prod", Keep: "newest", Groups: []history.RepairGroup{{
		Invariant: "S1", Key: "AED-1", State: history.RepairPlanned,
		Keep: []history.RepairRow{{ID: "1", Says: "active, of inspector 1"}}, Cancel: []history.RepairRow{{ID: "2", Says: "active, of inspector 2"}},
	}}}
	return run
}

var policy = regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]*)"`)

// embedded is a style or a script of a page.
type embedded struct{ tag, content string }

// apart returns the markup of a page, and what is embedded in it.
func apart(page string) (markup string, all []embedded) {
	var b strings.Builder
	for {
		i := strings.Index(page, "<s")
		if i < 0 {
			return b.String() + page, all
		}
		tag, rest, _ := strings.Cut(page[i:], ">")
		name, _, _ := strings.Cut(tag[1:], " ")
		if name != "style" && name != "script" {
			b.WriteString(page[:i+2])
			page = page[i+2:]
			continue
		}
		content, after, _ := strings.Cut(rest, "</"+name+">")
		all = append(all, embedded{tag, content})
		b.WriteString(page[:i])
		page = after
	}
}

// visible returns the text of a page.
func visible(page string) string {
	markup, _ := apart(page)
	var b strings.Builder
	for {
		before, after, more := strings.Cut(markup, "<")
		b.WriteString(before)
		if !more {
			return html.UnescapeString(b.String())
		}
		_, markup, _ = strings.Cut(after, ">")
	}
}

// checkPage looks at what must be true of every page: it is well-formed, it needs nothing but itself, and its policy says so.
func checkPage(t testing.TB, page string) {
	t.Helper()
	markup, all := apart(page)
	d := xml.NewDecoder(strings.NewReader(markup))
	d.Strict, d.Entity = true, xml.HTMLEntity
	ids := map[string]bool{}
	var links []string
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if slices.Contains([]string{"img", "link", "iframe", "object", "embed", "form", "base", "video", "audio", "image", "use"}, e.Name.Local) {
			require.Fail(t, "it asks for more than the page", e.Name.Local)
		}
		for _, a := range e.Attr {
			switch name := a.Name.Local; {
			case name == "style" || strings.HasPrefix(name, "on") || name == "src":
				require.Fail(t, "the policy forbids it", name)
			case name == "id" && ids[a.Value]:
				require.Fail(t, "an id twice", a.Value)
			case name == "id":
				ids[a.Value] = true
			case name == "href" || strings.HasPrefix(a.Value, "url("):
				links = append(links, strings.Trim(strings.TrimPrefix(a.Value, "url("), ")"))
			}
		}
	}
	for _, link := range links {
		if !strings.HasPrefix(link, "#") || !ids[link[1:]] {
			require.Fail(t, "a link to nowhere", link)
		}
	}
	said := html.UnescapeString(policy.FindStringSubmatch(page)[1])
	require.True(t, strings.HasPrefix(said, "default-src 'none'; "), said)
	require.NotContains(t, said, "unsafe")
	var hashes []string
	for _, one := range all {
		switch one.tag {
		case "<style":
			require.NotContains(t, one.content, "@import")
			require.NotContains(t, one.content, "url(")
		case `<script type="application/json" id="charts"`:
			continue // data
		default:
			require.Equal(t, "<script", one.tag)
		}
		sum := sha256.Sum256([]byte(one.content))
		hashes = append(hashes, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	require.ElementsMatch(t, hashes, regexp.MustCompile(`'sha256-[^']*'`).FindAllString(said, -1))
	require.True(t, onlyText(strings.ReplaceAll(visible(page), "\u00a0", " ")))
}

func TestEveryRunHasAPage(t *testing.T) {
	for name, run := range pages() {
		t.Run(name, func(t *testing.T) {
			page := render(t, reports.HTML, run)
			checkPage(t, page)
			require.NotContains(t, page, "secret")
			require.Equal(t, page, render(t, reports.HTML, run), "the same run, the same page")
		})
	}
}

func TestAnyRunHasAPage(t *testing.T) {
	servertest.Slow(t)
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		var run history.Run
		fill(random, reflect.ValueOf(&run).Elem())
		checkPage(t, render(t, reports.HTML, run))
	}
}

// A page says all that the console says.
func TestAPageLosesNothingOfTheStory(t *testing.T) {
	squeeze := func(s string) string {
		return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" \n\u00a0", r) }), " ")
	}
	for name, facts := range map[string][]string{
		"default":               {"As expected: 21 negative controls caught, 21 cells held, 0 unknown.", "insert, map 23505 and 23P01 to conflict", "at 3 exclusion", "held in 100 rounds of stress: no proof"},
		"violated":              {"Not as expected: 1 of 42 cells", "the constraint that protects S2 at 3 is not enforced", "Met in round 17", "interlock replay interlock-out/schedules-constraint-3.json", "postgres://postgres:***@127.0.0.1", "00:12:00"},
		"unknown":               {"cut short: interrupted", "the server closed the connection"},
		"explore-violated":      {"Violated in 2 of 4 interleavings of 2 clients", "✗ S2 and S4 broken here", "--as psql", "found in order 2 of 4", "The nearest order that holds parts at step 2", "told 2 × A created; B created"},
		"explore-deadlock":      {"40P01", "waits for"},
		"explore-held":          {"All 12 interleavings of 2 clients hold", "set several waiting clients free at once"},
		"explore-unknown":       {"stopped after 5,000 interleavings of 5 clients", "at least 1 in 192"},
		"replay-gone":           {"Gone: the counterexample breaks nothing any more.", "What happens now", "no_overlap"},
		"replay-unsteady":       {"broke in 7 of 10 repetitions", "the search diverged"},
		"check-dirty":           {"AED-0003", "the first 20 of them", "INVALID: a CREATE INDEX CONCURRENTLY failed", "no permission on aedpics.audit"},
		"saved":                 {"interlock-counterexamples/back.json", "1 saved counterexample is reproduced"},
		"gate-seed":             {"must not ship", "42P17", "interrupted"},
		"gate-full":             {"Not covered", "The trials in detail", "Beside clients at work", "the line is the longest stall that is allowed", "SHARE on aedpics.inspection_sessions", "with a long transaction open"},
		"repair":                {"2: active, of inspector 2", "to cancel"},
		"load-defences":         {"+29 % (+24 to +35 %)", "Held under load: 4 of 5 arms held, 1 broke where it may", "through 1 outage", "pgstattuple is not installed", "✓ met", "terminating connection"},
		"load-ramp":             {"the knee", "S5 broken"},
		"replay-not-applicable": {"no longer applicable"},
	} {
		page := squeeze(visible(render(t, reports.HTML, pages()[name])))
		for _, fact := range facts {
			require.Contains(t, page, squeeze(fact), name)
		}
	}
}

// poison puts s into every string of v.
func poison(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() {
			v.SetString(s)
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			poison(v.Elem(), s)
		}
	case reflect.Slice:
		for i := range v.Len() {
			poison(v.Index(i), s)
		}
	case reflect.Map:
		if v.Len() > 0 && v.Type().Key().Kind() == reflect.String && v.Type().Elem().Kind() == reflect.String {
			v.SetMapIndex(reflect.ValueOf(s), reflect.ValueOf(s))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				poison(v.Field(i), s)
			}
		}
	}
}

func TestNothingOfARunIsMarkup(t *testing.T) {
	servertest.Slow(t)
	const attack = `</script></style></title><script>alert(1)</script>"'&<img src=x onerror=alert(1)>`
	for name, run := range pages() {
		run, err := history.Decode(strings.NewReader(render(t, reports.JSON, run))) // a copy
		require.NoError(t, err)
		poison(reflect.ValueOf(&run).Elem(), attack)
		page := render(t, reports.HTML, run)
		checkPage(t, page)
		require.NotContains(t, page, "<script>alert", name)
		require.NotContains(t, page, "<img", name)
		require.NotContains(t, page, "&amp;lt;", "escaped twice: %s", name)
		require.Contains(t, visible(page), attack, name)
	}
}

func manyCells() history.Run {
	run := exploredRun()
	some := slices.Clone(run.Cells)
	cx := *at(run, "schedules", "constraint", 3)
	run.Cells = nil
	for i := range 1000 {
		c := some[i%len(some)]
		c.Scenario = fmt.Sprintf("scenario %d", i/21)
		if i%5 == 0 {
			c.Counterexamples, c.Verdict, c.Invariants = cx.Counterexamples, cx.Verdict, cx.Invariants
		}
		run.Cells = append(run.Cells, c)
	}
	return run
}

func manySteps() history.Run {
	run := exploreViolated()
	in := run.Cells[0].Counterexamples[0].Interleaving
	some := in.Steps
	in.Steps = nil
	for len(in.Steps) < 100_000 {
		in.Steps = append(in.Steps, some[len(in.Steps)%len(some)])
	}
	in.Steps = number(in.Steps...)
	return run
}

func manyTurns() history.Run {
	run := recorded("load-defences")
	for i := range run.Load.Arms {
		a := &run.Load.Arms[i]
		for len(a.Slices) < 50_000 {
			one := a.Slices[len(a.Slices)%24]
			one.Began += history.Duration(len(a.Slices)) * sec
			a.Slices = append(a.Slices, one)
		}
	}
	for len(run.Load.Outages) < 10_000 {
		run.Load.Outages = append(run.Load.Outages, run.Load.Outages[0])
	}
	return run
}

func manyMigrations() history.Run {
	run := recorded("gate-seed")
	for i := range 1000 {
		run.Gate.Migrations = append(run.Gate.Migrations, run.Gate.Migrations[i%2])
	}
	return run
}

func TestAPageStaysSmall(t *testing.T) {
	servertest.Slow(t)
	for name, many := range map[string]func() history.Run{"cells": manyCells, "steps": manySteps, "turns": manyTurns, "migrations": manyMigrations} {
		page := render(t, reports.HTML, many())
		require.Less(t, len(page), 5<<20, name)
		require.Contains(t, page, "in the run file", name)
		t.Logf("%s: %d KiB", name, len(page)>>10)
	}
}

func TestAPageSaysUnknownWhereOthersDo(t *testing.T) {
	for name, run := range pages() {
		word := regexp.MustCompile(`<p class="stamp"><span[^>]*>(.)</span>`).FindStringSubmatch(render(t, reports.HTML, run))[1]
		switch {
		case run.Kind == history.KindLoad:
			require.Equal(t, map[history.Verdict]string{history.Held: "✓", history.Violated: "✗"}[run.Verdict], word, name)
		case word == "✓":
			require.Equal(t, history.Held, run.Verdict, name)
		}
	}
	for name, change := range map[string]func(*history.Run){
		"the run is unknown":      func(r *history.Run) { r.Verdict = history.Unknown },
		"the run is violated":     func(r *history.Run) { r.Verdict = history.Violated },
		"the run was cut short":   func(r *history.Run) { r.Trouble = "interrupted" },
		"nothing was measured":    func(r *history.Run) { r.Load.Arms = nil },
		"an arm met trouble":      func(r *history.Run) { r.Load.Arms[1].Trouble = "panic" },
		"an arm is unknown":       func(r *history.Run) { r.Load.Arms[1].Verdict = "" },
		"an invariant broke":      func(r *history.Run) { r.Load.Arms[1].Invariants[0].Verdict = history.Violated },
		"a control did not break": func(r *history.Run) { r.Load.Arms[0].Invariants[0].Verdict = history.Held },
		"a threshold is not met":  func(r *history.Run) { r.Load.Required[0].Verdict = history.Violated },
		"it became slower":        func(r *history.Run) { r.Load.Baseline.Against[0].Verdict = history.Violated },
	} {
		run := recorded("load-defences")
		run.Load.Baseline.Against = run.Load.Baseline.Against[:1]
		require.Contains(t, render(t, reports.HTML, run), `aria-hidden="true">✓</span>`, "the control")
		change(&run)
		require.NotContains(t, render(t, reports.HTML, run), `aria-hidden="true">✓</span>`, name)
	}
}

func TestWhoWroteWhat(t *testing.T) {
	run := exploreViolated()
	cx := &run.Cells[0].Counterexamples[0]
	cx.Round.Violations[0].Rows.Columns = append(cx.Round.Violations[0].Rows.Columns, "ids")
	cx.Round.Violations[0].Rows.Rows[0] = append(cx.Round.Violations[0].Rows.Rows[0], text("8c1d2a90, 91aa03fe"))
	page := visible(render(t, reports.HTML, run))
	require.Contains(t, page, "written by")
	require.Contains(t, page, "A: create schedule\nB: create schedule")
	require.NotContains(t, visible(render(t, reports.HTML, exploreViolated())), "written by", "the rows say nothing of it")
}

func TestAPageIsWrittenAtOnce(t *testing.T) {
	require.ErrorContains(t, reports.HTML(full{}, violatedRun()), "no space left")
	run := nastyRun()
	before := render(t, reports.JSON, run)
	require.NoError(t, reports.HTML(io.Discard, run))
	require.Equal(t, before, render(t, reports.JSON, run))
}

func FuzzHTML(f *testing.F) {
	f.Add([]byte(`{"format":1,"kind":"explore","cells":[{"counterexamples":[{"interleaving":{"clients":["A"],"steps":[{"number":1,"client":"A","broken":["S1"]}]}}]}]}`))
	f.Add([]byte(`{"format":1,"kind":"load","load":{"arms":[{"clients":1,"throughput":1,"slices":[{"took":"1s","operations":3}]},{"clients":2,"knee":true}]}}`))
	f.Add([]byte(`{"format":1,"kind":"gate","gate":{"migrations":[{"statements":[{"line":1,"sql":"x","took":"1ms"}],"trials":[{"name":"empty"}]}]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		run, err := history.Decode(bytes.NewReader(raw))
		if err == nil {
			checkPage(t, render(t, reports.HTML, run))
		}
	})
}
