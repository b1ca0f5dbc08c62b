package daemon

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interlock-pg/interlock/harness/monitor/agenda"
)

// jobs are the metrics of what is done at set times.
type jobs struct{ *agenda.Agenda }

var (
	failing   = prometheus.NewDesc("interlock_job_failing", "1: the latest run failed, or was refused.", []string{"name"}, nil)
	failures  = prometheus.NewDesc("interlock_job_failed_total", "Runs that failed, or were refused.", []string{"name"}, nil)
	succeeded = prometheus.NewDesc("interlock_job_last_success_timestamp_seconds", "When the latest run that did what it is for ended.", []string{"name"}, nil)
)

// Describe implements [prometheus.Collector].
func (j jobs) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{failing, failures, succeeded} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (j jobs) Collect(to chan<- prometheus.Metric) {
	for _, s := range j.Status() {
		fails := 0.
		if s.Failing {
			fails = 1
		}
		to <- prometheus.MustNewConstMetric(failing, prometheus.GaugeValue, fails, s.Name)
		to <- prometheus.MustNewConstMetric(failures, prometheus.CounterValue, float64(s.Failed), s.Name)
		if !s.Succeeded.IsZero() {
			to <- prometheus.MustNewConstMetric(succeeded, prometheus.GaugeValue, float64(s.Succeeded.UnixMilli())/1000, s.Name)
		}
	}
}
