package daemon

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/interlock-pg/interlock/harness/monitor/notify"
)

// notes are the metrics of who is told.
type notes struct {
	wanted   bool // somebody is to be told
	seen     *backlog
	notifier atomic.Pointer[notify.Notifier]
}

func (n *notes) set(to *notify.Notifier) { n.notifier.Store(to) }

var (
	able      = prometheus.NewDesc("interlock_notifications_ready", "1: there is an outbox, and it can be written; 0: nobody can be told.", nil, nil)
	queued    = prometheus.NewDesc("interlock_notifications_queued", "Messages that wait to be delivered.", []string{"destination"}, nil)
	dead      = prometheus.NewDesc("interlock_notifications_dead", "Messages that the destination would not have.", []string{"destination"}, nil)
	delivered = prometheus.NewDesc("interlock_notifications_delivered_total", "Messages that this instance delivered.", []string{"destination"}, nil)
	failed    = prometheus.NewDesc("interlock_notifications_failed_total", "Attempts of this instance that failed.", []string{"destination"}, nil)
	waiting   = prometheus.NewDesc("interlock_notifications_unwritten", "Results that could not be written to the outbox yet.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (n *notes) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{able, queued, dead, delivered, failed, waiting} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (n *notes) Collect(to chan<- prometheus.Metric) {
	notifier := n.notifier.Load()
	if !n.wanted {
		return
	}
	unwritten := n.seen.size()
	if notifier == nil {
		to <- prometheus.MustNewConstMetric(able, prometheus.GaugeValue, 0)
		to <- prometheus.MustNewConstMetric(waiting, prometheus.GaugeValue, float64(unwritten))
		return
	}
	status, ready := notifier.Status(), 1.
	if status.Trouble != "" {
		ready = 0
	}
	to <- prometheus.MustNewConstMetric(able, prometheus.GaugeValue, ready)
	to <- prometheus.MustNewConstMetric(waiting, prometheus.GaugeValue, float64(status.Waiting+unwritten))
	for _, d := range status.Destinations {
		to <- prometheus.MustNewConstMetric(queued, prometheus.GaugeValue, float64(d.Queued), d.Name)
		to <- prometheus.MustNewConstMetric(dead, prometheus.GaugeValue, float64(d.Dead), d.Name)
		to <- prometheus.MustNewConstMetric(delivered, prometheus.CounterValue, float64(d.Delivered), d.Name)
		to <- prometheus.MustNewConstMetric(failed, prometheus.CounterValue, float64(d.Failed), d.Name)
	}
}
