package web

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	devlog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server/servertest"
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
	ctx, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	require.NoError(t, chromedp.Do(ctx))
	return ctx
}

// tab is one page in the browser, with what it complained about and asked for.
type tab struct {
	context.Context
	t    *testing.T
	base string

	mu       sync.Mutex
	messages []string
	requests []string
}

// browse opens a page in a tab of its own, so wide and in that colour scheme.
func browse(in context.Context, t *testing.T, base string, wide int64, scheme string, before ...func(*tab)) *tab {
	t.Helper()
	ctx, stop := chromedp.NewContext(in)
	t.Cleanup(stop)
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	t.Cleanup(cancel)
	p := &tab{Context: ctx, t: t, base: base}
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
			p.messages = append(p.messages, e.Entry.Text+" "+e.Entry.URL)
		case *network.EventRequestWillBeSent:
			p.requests = append(p.requests, e.Request.URL)
		}
	}))
	call(p, devlog.Enable, cdp.Empty{})
	call(p, network.Enable, network.EnableParams{})
	call(p, runtime.Enable, cdp.Empty{})
	call(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: wide, Height: 900, DeviceScaleFactor: 1, Mobile: wide < 500})
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	for _, f := range before {
		f(p)
	}
	p.run(chromedp.Navigate(base + "/"))
	return p
}

func withoutScripts(p *tab) {
	call(p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
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

// shows waits until an expression is true.
func (p *tab) shows(expression string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		value, err := chromedp.Run(p, chromedp.Evaluate[bool](expression))
		return err == nil && value
	}, 30*time.Second, 10*time.Millisecond, expression)
}

func (p *tab) live() { p.t.Helper(); p.shows(`document.getElementById("live")?.dataset.live === "on"`) }

// quiet looks that the page said nothing, and asked nobody else for anything.
func (p *tab) quiet() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Empty(p.t, p.messages)
	require.NotEmpty(p.t, p.requests)
	for _, url := range p.requests {
		require.True(p.t, strings.HasPrefix(url, p.base+"/"), url)
	}
}

// fits looks that nothing is wider than the window, or too faint to read.
func (p *tab) fits(wide int) {
	p.t.Helper()
	require.LessOrEqual(p.t, eval[int](p, `document.documentElement.scrollWidth`), wide)
	require.Empty(p.t, eval[[]string](p, faint))
	require.Empty(p.t, eval[[]string](p, unnamed))
}

// shot keeps a picture of the whole page where INTERLOCK_TEST_SCREENSHOTS names a directory.
func (p *tab) shot(name string) {
	dir := os.Getenv("INTERLOCK_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(p, chromedp.FullScreenshot(100))
	require.NoError(p.t, err)
	require.NoError(p.t, os.MkdirAll(dir, 0o755))
	require.NoError(p.t, os.WriteFile(filepath.Join(dir, "web-"+name+".png"), picture, 0o644))
}

// faint lists the texts that contrast too little with what is behind them: less than 4.5 to 1, or 3 to 1 where they are large.
const faint = `(() => {
	const parse = (c) => { const n = (c.match(/[\d.]+/g) || []).map(Number); return c.startsWith("color(") ? [n[0] * 255, n[1] * 255, n[2] * 255, n[3] ?? 1] : [n[0], n[1], n[2], n[3] ?? 1]; };
	const luminance = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const ground = (e) => {
		for (; e; e = e.parentElement) {
			const c = parse(getComputedStyle(e).backgroundColor);
			if (c[3] > 0) return c;
		}
		return [255, 255, 255, 1];
	};
	const found = new Set();
	let seen = 0;
	for (const e of document.body.querySelectorAll("*")) {
		if (e.closest("script, style, [hidden], .vh, .skip") || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.getClientRects().length) continue;
		const style = getComputedStyle(e);
		const [a, b] = [luminance(parse(style.color)), luminance(ground(e))];
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		seen++;
		if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) found.add(e.tagName + "." + e.className + " " + ratio.toFixed(2) + ": " + e.textContent.trim().slice(0, 40));
	}
	if (seen < 5) found.add("only " + seen + " texts seen");
	return [...found];
})()`

// unnamed lists what somebody who does not see the page would miss: names, captions, headings in order, and words beside every mark.
const unnamed = `(() => {
	const found = [];
	if (!document.documentElement.lang || !document.title || document.querySelectorAll("h1").length !== 1 || document.querySelectorAll("main").length !== 1) found.push("frame");
	let level = 0;
	for (const h of document.querySelectorAll("h1, h2, h3, h4")) {
		const now = Number(h.tagName[1]);
		if (now > level + 1) found.push("heading " + h.textContent);
		level = now;
	}
	for (const t of document.querySelectorAll("table")) if (!t.caption?.textContent.trim() || !t.querySelector("th[scope=col]") || !t.querySelector("th[scope=row]")) found.push("table");
	for (const e of document.querySelectorAll("[role=region], nav")) if (!e.getAttribute("aria-label")) found.push(e.tagName);
	for (const e of document.querySelectorAll("input:not([hidden])")) if (!e.labels.length) found.push("input");
	for (const e of document.querySelectorAll(".mark, [class*=tone-]")) if (!e.parentElement.textContent.replace(/[✓✗?]/g, "").trim()) found.push("mark without words");
	for (const a of document.querySelectorAll("a[href^='#']")) if (!document.getElementById(a.getAttribute("href").slice(1))) found.push("link " + a.href);
	const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
	if (new Set(ids).size !== ids.length) found.push("two of one id");
	return found;
})()`

// The page says what is broken, and what heals, as it happens, in light and dark, on a desk and in a pocket.
func TestPageInABrowser(t *testing.T) {
	servertest.Slow(t)
	browser := chromium(t)
	from := newMemory()
	s := site(t, from, func(c *Config) { c.Open, c.Tokens = true, nil })
	base, stop := served(t, s, nil)
	defer stop()
	for _, view := range []struct {
		name, scheme string
		wide         int64
	}{{"light", "light", 1280}, {"dark", "dark", 1280}, {"narrow-light", "light", 390}, {"narrow-dark", "dark", 390}} {
		t.Run(view.name, func(t *testing.T) {
			from.set(sessions)
			from.set(schedules)
			p := browse(browser, t, base, view.wide, view.scheme)
			p.live()
			require.Equal(t, "S1 and S2 hold: no group breaks them.", eval[string](p, `document.getElementById("verdict").textContent`))
			p.fits(int(view.wide))
			p.shot("healed-" + view.name)

			from.set(sessions, open(1, 3)...)
			p.shows(`document.getElementById("verdict").textContent.startsWith("3 groups break S1 since 2026-11-10 09:00 UTC")`)
			require.Equal(t, 3, eval[int](p, `document.querySelectorAll("#duplicate-sessions tbody tr").length`))
			require.Contains(t, eval[string](p, `document.getElementById("said").textContent`), "S1: 3 groups broke it. 3 groups of 6 rows break S1")
			require.Equal(t, "polite", eval[string](p, `document.getElementById("said").getAttribute("aria-live")`))
			from.set(schedules, tooClose())
			p.shows(`document.getElementById("verdict").textContent.includes("1 group breaks S2")`)
			require.True(t, strings.HasPrefix(eval[string](p, `document.title`), "Interlock: 3 groups break S1"))
			p.fits(int(view.wide))
			p.shot("broken-" + view.name)

			// What the reader is at stays, although the page around it changes.
			eval[bool](p, `(() => { document.querySelector("#indexes .tablebox").focus(); window.before = document.activeElement; return true; })()`)
			from.set(sessions)
			p.shows(`document.getElementById("said").textContent.includes("S1: 3 groups healed.") && document.querySelectorAll("#duplicate-sessions tbody tr").length === 0`)
			require.True(t, eval[bool](p, `document.activeElement === window.before && window.before.isConnected`))
			from.set(schedules)
			p.shows(`document.querySelector("header.verdict").classList.contains("tone-held")`)
			p.quiet()
		})
	}
}

func TestPageOfManyGroupsInABrowser(t *testing.T) {
	servertest.Slow(t)
	from := newMemory()
	from.set(sessions, open(1, 50_000)...)
	from.fail("the look was cut off after 5 s: canceling statement due to statement timeout")
	s := site(t, from, func(c *Config) { c.Open, c.Tokens = true, nil })
	base, stop := served(t, s, nil)
	defer stop()
	p := browse(chromium(t), t, base, 1280, "light")
	p.live()
	require.Equal(t, mostShown, eval[int](p, `document.querySelectorAll("#duplicate-sessions tbody tr").length`))
	require.Contains(t, eval[string](p, `document.querySelector("#duplicate-sessions").textContent`), "These are the first 100 of 50,000 groups.")
	require.Contains(t, eval[string](p, `document.querySelector("header").textContent`), "not known, the look was cut off")
	p.fits(1280)
	p.quiet()
	p.run(chromedp.Click(chromedp.CSS("#duplicate-sessions .small a")))
	p.shows(`location.pathname === "/api/monitoring/duplicate-sessions"`)
}

func TestPageWithoutJavaScript(t *testing.T) {
	servertest.Slow(t)
	from := newMemory()
	from.set(sessions, open(1, 2)...)
	s := site(t, from, func(c *Config) { c.Open, c.Tokens = true, nil })
	base, stop := served(t, s, nil)
	defer stop()
	p := browse(chromium(t), t, base, 1280, "light", withoutScripts)
	require.Equal(t, 2, eval[int](p, `document.querySelectorAll("#duplicate-sessions tbody tr").length`))
	require.Contains(t, eval[string](p, `document.getElementById("live").textContent`), "reload it for what is newer")
	p.fits(1280)
	p.shot("without-javascript")
	from.set(sessions)
	p.run(chromedp.Reload())
	require.Contains(t, eval[string](p, `document.getElementById("verdict").textContent`), "hold")
	p.quiet()
}

// A token that is typed in lets one in, a wrong one does not, and signing out ends it.
func TestSignInInABrowser(t *testing.T) {
	servertest.Slow(t)
	from := newMemory()
	s := site(t, from, nil)
	base, stop := served(t, s, nil)
	defer stop()
	browser := chromium(t)
	for _, scheme := range []string{"light", "dark"} {
		p := browse(browser, t, base, 390, scheme)
		require.Equal(t, "Sign in with a token", eval[string](p, `document.querySelector("h1").textContent`))
		p.fits(390)
		p.run(chromedp.SendKeys(chromedp.CSS("#token"), "not it"+kb.Enter))
		p.shows(`!!document.querySelector("[role=alert]")`)
		p.fits(390)
		p.shot("signin-" + scheme)
		p.run(chromedp.SendKeys(chromedp.CSS("#token"), readOnly.Secret+kb.Enter))
		p.live()
		require.Equal(t, base+"/", eval[string](p, `location.href`))
		require.Equal(t, "", eval[string](p, `document.cookie`), "scripts do not see it")
		require.Contains(t, eval[string](p, `document.querySelector("footer").textContent`), "Signed in with the token prometheus")
		p.run(chromedp.Click(chromedp.CSS("footer button")))
		p.shows(`!!document.getElementById("token")`)
		p.mu.Lock()
		for _, m := range p.messages {
			require.Contains(t, m, "401", "the browser notes that it was refused, and nothing else")
		}
		p.mu.Unlock()
	}
}

// Where the stream of events is refused, by us or by somebody in between, the page says that it is not live, and becomes so again; unless nobody may listen.
func TestLostInABrowser(t *testing.T) {
	servertest.Slow(t)
	from := newMemory()
	now := start
	var mu sync.Mutex
	s := site(t, from, func(c *Config) {
		c.now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
		c.beat = 50 * time.Millisecond
	})
	var refused atomic.Int64
	var broken atomic.Bool
	base, stop := served(t, s, func(server *http.Server) {
		server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/api/events" && broken.Load() {
				refused.Add(1)
				http.Error(w, "no answer from upstream", http.StatusBadGateway)
				return
			}
			s.ServeHTTP(w, r)
		})
	})
	defer stop()
	p := browse(chromium(t), t, base, 1280, "light")
	p.run(chromedp.SendKeys(chromedp.CSS("#token"), readOnly.Secret+kb.Enter))
	p.live()
	broken.Store(true)
	from.hangUp()
	p.shows(`document.getElementById("live").dataset.live === "lost"`)
	require.Eventually(t, func() bool { return refused.Load() > 1 }, 30*time.Second, 10*time.Millisecond, "it is tried again, although the browser has given up")
	require.Equal(t, "lost", eval[string](p, `document.getElementById("live").dataset.live`))
	from.set(sessions, open(1, 3)...)
	broken.Store(false)
	p.live()
	p.shows(`document.getElementById("verdict").textContent.startsWith("3 groups break S1")`)

	mu.Lock()
	now = now.Add(sessionLasts)
	mu.Unlock()
	p.shows(`document.getElementById("live").dataset.live === "off"`)
	require.Contains(t, eval[string](p, `document.getElementById("live").textContent`), "sign in again")
}

// The page is of the same design as the report.
func TestColoursAreThoseOfTheReport(t *testing.T) {
	report, err := os.ReadFile("../../../reports/html/style.css")
	require.NoError(t, err)
	ours, err := assets.ReadFile("assets/style.css")
	require.NoError(t, err)
	tokens, _, found := strings.Cut(string(report), "*, *::before")
	require.True(t, found)
	require.True(t, strings.HasPrefix(string(ours), tokens), "try copying what defines the colours in reports/html/style.css")
}
