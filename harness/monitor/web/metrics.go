package web

import (
	"context"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/interlock-pg/interlock/harness/history"
)

// metrics are what Prometheus asks for. What is of the database is taken from the latest look, so that asking often costs it nothing.
type metrics struct {
	handler  http.Handler
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	streams  prometheus.Gauge
}

func newMetrics(s *Site) *metrics {
	registry := prometheus.NewRegistry()
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "interlock_http_requests_total", Help: "Requests that were answered, by address, method and status.",
		}, []string{"path", "method", "code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "interlock_http_request_duration_seconds", Help: "How long answers took.", Buckets: []float64{.0005, .001, .002, .005, .01, .05, .25, 1, 5, 25},
		}, []string{"path"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: "interlock_event_streams", Help: "Streams of events that are open."}),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "interlock_build_info", Help: "1; the version of Interlock and of Go are in the labels.",
	}, []string{"version", "goversion"})
	build.WithLabelValues(s.config.Version, runtime.Version()).Set(1)
	registry.MustRegister(m.requests, m.took, m.streams, build, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newLookCollector(s))
	for _, c := range s.config.Collectors {
		registry.MustRegister(c)
	}
	m.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, DisableCompression: true})
	return m
}

// scrape answers with the metrics as text, whatever other form there may be.
func (s *Site) scrape(w http.ResponseWriter, q *request) error {
	as := q.Clone(q.Context())
	as.Header.Set("Accept", "text/plain")
	w.Header().Set("Cache-Control", "no-store")
	s.metrics.handler.ServeHTTP(w, as)
	return nil
}

// request counts a request. A method that nobody knows has no label of its own, and neither has a path: who asks could make any number of them.
func (m *metrics) request(pattern, method string, status int, took time.Duration) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(pattern, method, strconv.Itoa(status)).Inc()
	if pattern != "/api/events" { // which lasts as long as somebody listens
		m.took.WithLabelValues(pattern).Observe(took.Seconds())
	}
}

// lookCollector tells of the latest looks.
type lookCollector struct {
	site *Site

	groups, rows, verdict, duration, lag, success, whole         *prometheus.Desc
	present, valid, enforcing, scans, bytes                      *prometheus.Desc
	ready, connected, readOnly, replicaLag, lastSuccess, backoff *prometheus.Desc
}

func newLookCollector(s *Site) *lookCollector {
	watch, index := []string{"invariant", "name"}, []string{"index", "table", "protects"}
	desc := func(name, help string, labels []string) *prometheus.Desc {
		return prometheus.NewDesc("interlock_"+name, help, labels, nil)
	}
	return &lookCollector{
		site:        s,
		groups:      desc("violations", "Groups that break the invariant, as of the latest look that succeeded.", watch),
		rows:        desc("violating_rows", "Rows in these groups.", watch),
		verdict:     desc("verdict", "1 for what the latest look came to: held, violated or unknown.", append(watch, "verdict")),
		duration:    desc("check_duration_seconds", "How long the latest look that succeeded took.", watch),
		lag:         desc("check_lag_seconds", "How long ago the latest look that succeeded began.", watch),
		success:     desc("check_success_timestamp_seconds", "When the latest look that succeeded began.", watch),
		whole:       desc("check_whole_timestamp_seconds", "Everything was looked at since: what is known of what was not found broken is that old.", watch),
		present:     desc("index_present", "1: the index is there.", index),
		valid:       desc("index_valid", "1: the index is valid.", index),
		enforcing:   desc("index_enforcing", "1: the index keeps what it protects from being broken.", index),
		scans:       desc("index_scans_total", "Scans of the index since the statistics of the server began.", index),
		bytes:       desc("index_size_bytes", "Size of the index.", index),
		ready:       desc("ready", "1: a look at every watch has succeeded, and not long ago.", nil),
		connected:   desc("database_connected", "1: the latest attempt to reach the database succeeded.", nil),
		readOnly:    desc("database_read_only", "1: nothing can be written there.", nil),
		replicaLag:  desc("replica_lag_seconds", "How far a replica is behind its primary.", nil),
		lastSuccess: desc("last_success_timestamp_seconds", "When the latest look of any kind that succeeded ended.", nil),
		backoff:     desc("backing_off_seconds", "How long until the next look, where one failed, or looks take more than their share of the time.", nil),
	}
}

// Describe implements [prometheus.Collector].
func (c *lookCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.groups, c.rows, c.verdict, c.duration, c.lag, c.success, c.whole, c.present, c.valid, c.enforcing, c.scans, c.bytes,
		c.ready, c.connected, c.readOnly, c.replicaLag, c.lastSuccess, c.backoff,
	} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *lookCollector) Collect(to chan<- prometheus.Metric) {
	s := c.site
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, w := range s.watches {
		r := s.result(context.Background(), w, latest, 2*time.Second)
		for _, v := range []history.Verdict{history.Held, history.Violated, history.Unknown} {
			gauge(c.verdict, truth(r.Verdict == v), w.Invariant, w.Name, string(v))
		}
		if r.Checked.IsZero() {
			continue // no number is better than one that nobody has counted
		}
		gauge(c.groups, float64(r.Total), w.Invariant, w.Name)
		gauge(c.rows, float64(r.Members), w.Invariant, w.Name)
		gauge(c.duration, r.Took.Seconds(), w.Invariant, w.Name)
		gauge(c.lag, max(0, s.config.now().Sub(r.Checked).Seconds()), w.Invariant, w.Name)
		gauge(c.success, seconds(r.Checked), w.Invariant, w.Name)
		if !r.Whole.IsZero() {
			gauge(c.whole, seconds(r.Whole), w.Invariant, w.Name)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if found, _, err := s.config.Source.Indexes(ctx, indexesFresh); err == nil {
		for _, i := range found {
			labels := []string{i.Name, i.Table, i.Protects}
			gauge(c.present, truth(i.Present), labels...)
			gauge(c.valid, truth(i.Valid), labels...)
			gauge(c.enforcing, truth(i.Enforcing), labels...)
			gauge(c.bytes, float64(i.Bytes), labels...)
			to <- prometheus.MustNewConstMetric(c.scans, prometheus.CounterValue, float64(i.Scans), labels...)
		}
	}
	h := s.config.Source.Health()
	gauge(c.ready, truth(h.Ready))
	gauge(c.connected, truth(h.Connected))
	gauge(c.readOnly, truth(h.ReadOnly))
	gauge(c.backoff, h.BackingOff.Seconds())
	if h.Replica && h.Connected {
		gauge(c.replicaLag, h.Lag.Seconds())
	}
	if !h.Success.IsZero() {
		gauge(c.lastSuccess, seconds(h.Success))
	}
}

// indexesFresh is how old the indexes of the page and of the metrics may be.
const indexesFresh = time.Minute

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
