package web

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/require"
)

// BenchmarkThousandASecond asks for cached answers over TCP, 1,000 times a second whatever becomes of the answers before, and reports how long it took
// from when a request was due until its answer had been read. Client and server share the processors, so there is a control: the same bytes from a
// handler that does nothing else. Try: go test -run '^$' -bench Thousand -benchtime 1x ./harness/monitor/web
func BenchmarkThousandASecond(b *testing.B) {
	for _, groups := range []int{52, 50_000} {
		from := newMemory()
		from.set(sessions, open(1, groups)...)
		target := "/api/monitoring/" + sessions
		s := site(b, from, nil)
		body := ask(b, s, get(target).as(readOnly)).Body.Bytes()
		for _, of := range []struct {
			name    string
			handler http.Handler
		}{
			{"control", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })},
			{"answer", s},
		} {
			b.Run(fmt.Sprintf("groups=%d/%s", groups, of.name), func(b *testing.B) {
				base, stop := served(b, s, func(server *http.Server) { server.Handler = of.handler })
				defer stop()
				c := client(b)
				for range 3 { // connections are opened, and the page is written
					load(b, c, base+target, time.Second)
				}
				for b.Loop() {
					latencies := load(b, c, base+target, 5*time.Second)
					for name, q := range map[string]float64{"p50-µs": 50, "p99-µs": 99, "p99.9-µs": 99.9} {
						b.ReportMetric(float64(latencies.ValueAtQuantile(q)), name)
					}
				}
			})
		}
	}
}

// load asks 1,000 times a second for so long.
func load(b *testing.B, c *http.Client, target string, lasts time.Duration) *hdrhistogram.Histogram {
	const rate = 1000
	latencies := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
	var mu sync.Mutex
	var done sync.WaitGroup
	due := make(chan time.Time, int(lasts.Seconds()*rate))
	for range 32 {
		done.Go(func() {
			for at := range due {
				if !asks(c, target) {
					b.Error("no answer")
				}
				took := time.Since(at)
				mu.Lock()
				_ = latencies.RecordValue(took.Microseconds()) // a minute is not passed
				mu.Unlock()
			}
		})
	}
	began := time.Now()
	for i := range int(lasts.Seconds() * rate) {
		at := began.Add(time.Duration(i) * time.Second / rate)
		time.Sleep(time.Until(at)) // the load is the clock's
		due <- at
	}
	close(due)
	done.Wait()
	return latencies
}

// asks asks once, and reads the answer.
func asks(c *http.Client, target string) bool {
	r, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		return false
	}
	r.Header.Set("Authorization", "Bearer "+readOnly.Secret)
	w, err := c.Do(r)
	if err != nil {
		return false
	}
	defer w.Body.Close()
	_, err = io.Copy(io.Discard, w.Body)
	return err == nil && w.StatusCode == 200
}

// discard is an answer that nobody reads.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// BenchmarkCached is a cached answer without a connection.
func BenchmarkCached(b *testing.B) {
	from := newMemory()
	from.set(sessions, open(1, 50_000)...)
	s := site(b, from, nil)
	r, err := http.NewRequest(http.MethodGet, "/api/monitoring/"+sessions, nil)
	require.NoError(b, err)
	r.Header.Set("Authorization", "Bearer "+readOnly.Secret)
	r.RemoteAddr = "203.0.113.9:4711"
	w := &discard{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		s.ServeHTTP(w, r)
	}
}

// BenchmarkWritten is an answer that is written anew, as after every change.
func BenchmarkWritten(b *testing.B) {
	from := newMemory()
	from.set(sessions, open(1, 50_000)...)
	r := from.results[sessions]
	for b.Loop() {
		_, err := encodeGroups(r, slice{limit: usual}, "")
		require.NoError(b, err)
	}
}
