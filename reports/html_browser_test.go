package reports_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	devlog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/reports"
)

// chromium starts a browser for the test. Where there is none it fails: these tests are for a machine that has one.
func chromium(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	require.NotEmpty(t, path, "no Chromium found; try: apt-get install chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.DisableGPU)
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	require.NoError(t, chromedp.Do(ctx))
	return ctx
}

// tab is one page in the browser, with what it complained about and asked for.
type tab struct {
	context.Context
	t   *testing.T
	url string

	mu       sync.Mutex
	messages []string
	requests []string
}

// open shows a run in a tab of its own, so wide.
func open(in context.Context, t *testing.T, run history.Run, wide int64, more ...chromedp.Action[chromedp.Void]) *tab {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	require.NoError(t, os.WriteFile(path, []byte(render(t, reports.HTML, run)), 0o600))
	ctx, stop := chromedp.NewContext(in)
	t.Cleanup(stop)
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	t.Cleanup(cancel)
	p := &tab{Context: ctx, t: t, url: "file://" + path}
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		p.mu.Lock()
		defer p.mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventConsoleAPICalled:
			for _, arg := range e.Args {
				p.messages = append(p.messages, fmt.Sprintf("%s: %s %s", e.Type, arg.Value, arg.Description))
			}
		case *runtime.EventExceptionThrown:
			p.messages = append(p.messages, e.ExceptionDetails.Text)
		case *devlog.EventEntryAdded:
			p.messages = append(p.messages, e.Entry.Text)
		case *network.EventRequestWillBeSent:
			p.requests = append(p.requests, e.Request.URL)
		}
	}))
	call(p, devlog.Enable, cdp.Empty{})
	call(p, network.Enable, network.EnableParams{})
	call(p, runtime.Enable, cdp.Empty{})
	call(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: wide, Height: 900, DeviceScaleFactor: 1, Mobile: wide < 500})
	p.run(more...)
	p.run(chromedp.Navigate(p.url))
	return p
}

func (p *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	require.NoError(p.t, chromedp.Do(p, actions...))
}

func call[P, R any](p *tab, command cdp.Command[P, R], params P) {
	p.t.Helper()
	_, err := chromedp.Call(p, command, params)
	require.NoError(p.t, err)
}

// eval returns the value of a JavaScript expression.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	value, err := chromedp.Run(p, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(p.t, err)
	return value
}

// quiet looks that the page said nothing and asked for nothing but itself.
func (p *tab) quiet() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Empty(p.t, p.messages)
	require.Equal(p.t, []string{p.url}, p.requests)
}

// shot keeps a picture of the whole page, or of one step of it, where INTERLOCK_TEST_SCREENSHOTS names a directory.
func (p *tab) shot(name string) {
	dir := os.Getenv("INTERLOCK_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	take := chromedp.FullScreenshot(100)
	if strings.Contains(name, "-step-") { // as it stands in the window
		take = chromedp.CaptureScreenshot()
	}
	picture, err := chromedp.Run(p, take)
	require.NoError(p.t, err)
	require.NoError(p.t, os.MkdirAll(dir, 0o755))
	require.NoError(p.t, os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644))
}

func scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	})
}

func withoutScripts() chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	})
}

// faint lists the texts that contrast too little with what is behind them: less than 4.5 to 1, or 3 to 1 where they are large.
const faint = `(() => {
	const parse = (c) => { const n = (c.match(/[\d.]+/g) || []).map(Number); return c.startsWith("color(") ? [n[0] * 255, n[1] * 255, n[2] * 255, n[3] ?? 1] : [n[0], n[1], n[2], n[3] ?? 1]; };
	const luminance = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const ground = (e) => {
		const box = e.closest("a.step, .break")?.querySelector("rect");
		if (e.namespaceURI.endsWith("svg") && box) return parse(getComputedStyle(box).fill);
		for (; e; e = e.parentElement) {
			const c = parse(getComputedStyle(e).backgroundColor);
			if (c[3] > 0) return c;
		}
		return [255, 255, 255, 1];
	};
	const found = new Set();
	let seen = 0;
	for (const e of document.body.querySelectorAll("*")) {
		if (e.closest("script, style, title, [hidden], .defs, .vh, .skip") || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.getClientRects().length) continue;
		const style = getComputedStyle(e);
		const [a, b] = [luminance(parse(e.namespaceURI.endsWith("svg") ? style.fill : style.color)), luminance(ground(e))];
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		const large = parseFloat(style.fontSize) >= 24;
		seen++;
		if (ratio < (large ? 3 : 4.5)) found.add(e.tagName + "." + e.getAttribute("class") + " " + ratio.toFixed(2) + ": " + e.textContent.trim().slice(0, 40));
	}
	if (seen < 10) found.add("only " + seen + " texts seen");
	return [...found];
})()`

func browsed() map[string]history.Run {
	return map[string]history.Run{
		"run": exploredRun(), "explore": exploreViolated(), "explore-deadlock": exploreDeadlock(), "explore-four": exploreFour(), "explore-held": exploreHeld(),
		"stress": violatedRun(), "replay": replayedRun(history.Held, ""), "check": checkRun(true), "gate": gateSamples()["gate-full"], "gate-seed": recorded("gate-seed"),
		"load": recorded("load-defences"), "load-ramp": recorded("load-ramp"), "nasty": nastyInterleaving(),
	}
}

func TestInABrowser(t *testing.T) {
	servertest.Slow(t)
	browser := chromium(t)
	for name, run := range browsed() {
		t.Run(name, func(t *testing.T) {
			p := open(browser, t, run, 1280, scheme("light"))
			require.True(t, eval[bool](p, `(() => { const r = document.querySelector("#verdict").getBoundingClientRect(); return r.height > 10 && r.bottom < innerHeight; })()`))
			require.Empty(t, eval[[]string](p, faint), "light")
			require.LessOrEqual(t, eval[int](p, `document.documentElement.scrollWidth`), 1280)
			lanes := 0
			for _, c := range run.Cells {
				if len(c.Counterexamples) > 0 && c.Counterexamples[0].Interleaving != nil {
					lanes = len(chartClients(*c.Counterexamples[0].Interleaving))
					break
				}
			}
			if lanes > 0 {
				require.Equal(t, lanes, eval[int](p, `document.querySelector("figure.lanes").querySelectorAll(".lane").length`))
			}
			t.Logf("opened in %.0f ms", eval[float64](p, `performance.getEntriesByType("navigation")[0].loadEventEnd`))
			p.shot(name + "-1280")
			p.quiet()

			phone := open(browser, t, run, 390, scheme("dark"))
			require.LessOrEqual(t, eval[int](phone, `document.documentElement.scrollWidth`), 390)
			require.Empty(t, eval[[]string](phone, faint), "dark")
			phone.shot(name + "-390-dark")
			phone.quiet()
		})
	}
}

// chartClients returns who has a lane.
func chartClients(in history.Interleaving) map[string]bool {
	names := map[string]bool{}
	for _, name := range in.Clients {
		names[name] = true
	}
	for _, s := range in.Steps {
		names[s.Client] = true
	}
	return names
}

// What the tests above look for is found where it is.
func TestWhatABrowserNotices(t *testing.T) {
	servertest.Slow(t)
	path := filepath.Join(t.TempDir(), "bad.html")
	require.NoError(t, os.WriteFile(path, []byte(`<!DOCTYPE html><p style="color:#999;width:600px">faint</p><img src="missing.png"><script>console.log("loud")</script>`), 0o600))
	p := open(chromium(t), t, history.Run{}, 390)
	p.quiet()
	p.run(chromedp.Navigate("file://" + path))
	require.Contains(t, strings.Join(eval[[]string](p, faint), "\n"), "faint")
	require.Greater(t, eval[int](p, `document.documentElement.scrollWidth`), 390)
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Contains(t, strings.Join(p.messages, "\n"), "loud")
	require.Contains(t, strings.Join(p.requests, "\n"), "missing.png")
}

func TestStepsShowThemselvesByKeyboard(t *testing.T) {
	servertest.Slow(t)
	p := open(chromium(t), t, exploreViolated(), 1280)
	for range 60 {
		if eval[bool](p, `document.activeElement.matches("a.step")`) {
			break
		}
		p.run(chromedp.KeyEvent(kb.Tab))
	}
	require.True(t, eval[bool](p, `document.activeElement.matches("a.step")`), "Tab goes to a step")
	panel := eval[string](p, `document.activeElement.closest("figure").querySelector(".panel").innerText`)
	require.Contains(t, panel, "select count(*) from aedpics.inspection_schedules")
	require.Contains(t, panel, "$1 = 17 (integer)")
	require.True(t, eval[bool](p, `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))).then(() => {
		const step = document.activeElement, panel = step.closest("figure").querySelector(".panel");
		return step.getBoundingClientRect().bottom <= panel.getBoundingClientRect().top;
	})`), "the panel hides what it is about")
	p.shot("explore-step-1280")
	p.run(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Tab))
	require.Contains(t, eval[string](p, `document.activeElement.closest("figure").querySelector(".panel").innerText`), "insert into aedpics")
	require.Equal(t, 1, eval[int](p, `document.querySelectorAll(".step.shown").length`))
	p.quiet()
}

func TestCopyButtons(t *testing.T) {
	servertest.Slow(t)
	p := open(chromium(t), t, exploreViolated(), 1280)
	for _, name := range []string{"clipboard-read", "clipboard-write"} {
		_, err := chromedp.CallBrowser(p, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: name}, Setting: browser.PermissionSettingGranted,
		})
		require.NoError(t, err)
	}
	want := eval[string](p, `document.querySelector(".command code").textContent`)
	require.True(t, strings.HasPrefix(want, "interlock replay "), want)
	p.run(chromedp.Click(chromedp.CSS(".command button.copy")), chromedp.WaitVisible(`//button[starts-with(., "Copied")]`))
	require.Equal(t, want, eval[string](p, `navigator.clipboard.readText()`))

	// Where the clipboard is refused, the old way.
	eval[bool](p, `(() => { navigator.clipboard.writeText = () => Promise.reject(new Error("no")); return true; })()`)
	p.run(chromedp.Click(`(//button[contains(@class, "copy")])[2]`), chromedp.WaitVisible(`(//button[contains(@class, "copy")])[2][starts-with(., "Copied")]`))
	require.Contains(t, eval[string](p, `getSelection().toString()`), "--as psql")
	p.quiet()
}

func TestWithoutJavaScript(t *testing.T) {
	servertest.Slow(t)
	chromium := chromium(t)
	p := open(chromium, t, exploreViolated(), 1280, withoutScripts())
	require.Zero(t, eval[int](p, `[...document.querySelectorAll("button, .panel")].filter((e) => e.getClientRects().length).length`), "nothing that does nothing")
	require.Equal(t, 2, eval[int](p, `document.querySelector("figure.lanes").querySelectorAll(".lane").length`))
	p.run(chromedp.Click(chromedp.CSS("figure.lanes .steps summary")))
	require.Contains(t, eval[string](p, `document.querySelector("figure.lanes .steps").innerText`), "$1 = 17 (integer)")

	p = open(chromium, t, recorded("load-defences"), 1280, withoutScripts())
	require.Equal(t, 3, eval[int](p, `[...document.querySelectorAll("figure.plot[id] svg[role=img]")].filter((e) => e.getClientRects().length).length`))
	p.shot("load-without-javascript-1280")
}

func TestChartsAreDrawn(t *testing.T) {
	servertest.Slow(t)
	p := open(chromium(t), t, recorded("load-ramp"), 1280)
	require.Equal(t, 5, eval[int](p, `document.querySelectorAll(".live canvas").length`))
	require.Zero(t, eval[int](p, `[...document.querySelectorAll("figure.plot[id] svg[role=img]")].filter((e) => e.getClientRects().length).length`))
	var charts []struct {
		ID     string
		Series []struct{ Knee int }
	}
	require.NoError(t, json.Unmarshal([]byte(eval[string](p, `document.getElementById("charts").textContent`)), &charts))
	require.Equal(t, "plot-ramp", charts[0].ID)
	require.Equal(t, 4, charts[0].Series[0].Knee)
	p.quiet()
}

func TestLargeRunsOpen(t *testing.T) {
	servertest.Slow(t)
	chromium := chromium(t)
	for name, run := range map[string]history.Run{"cells": manyCells(), "steps": manySteps(), "turns": manyTurns(), "migrations": manyMigrations()} {
		p := open(chromium, t, run, 1280)
		t.Logf("%s: opened in %.0f ms", name, eval[float64](p, `performance.getEntriesByType("navigation")[0].loadEventEnd`))
		require.True(t, eval[bool](p, `document.querySelector("#verdict").getClientRects().length > 0`))
		p.quiet()
	}
}
