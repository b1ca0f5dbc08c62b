package harness

import (
	"context"
	"errors"
	"slices"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/load"
	"github.com/interlock-pg/interlock/harness/server"
)

// Measured is a workload at a stage, to be measured beside others.
type Measured struct {
	Workload Workload
	Stage    Stage
	Base     bool // the others of its scenario are compared with it

	// Whose names the migrations that Stage is of: those of one name with one version are alike.
	Whose string
}

// LoadConfig says what to measure. Load says how; its Server and its Subjects are taken from here.
type LoadConfig struct {
	Server  *server.Server
	Measure []Measured
	Load    load.Config

	Require []load.Requirement

	Baseline     *history.Measurement // an earlier one to compare with; nil: none
	BaselineFile string               // where it was read from
	Tolerance    float64              // 0.05: five per cent slower is as good
}

// Load measures workloads under load, side by side, and judges their invariants and what is required of them. The error says why the run could not be
// made or finished.
func Load(ctx context.Context, config LoadConfig) (history.Run, error) {
	if config.Server == nil || len(config.Measure) == 0 {
		return history.Run{}, errors.New("harness.LoadConfig: Server and Measure are required; start one with a provider below harness/server, and name at least one workload")
	}
	run := begin(Config{Server: config.Server, Seed: config.Load.Seed}, history.KindLoad)
	run.Bounds = history.Bounds{}
	err := describeServer(ctx, config.Server, &run.Server)
	var measured history.Measurement
	if err == nil {
		measured, err = config.measure(ctx, &run)
	}
	run.Load = &measured
	for _, r := range config.Require {
		measured.Required = append(measured.Required, r.Judge(measured.Arms)...)
	}
	if config.Baseline != nil {
		b := load.Compare(measured, *config.Baseline, config.BaselineFile, config.Tolerance)
		measured.Baseline = &b
	}
	finish(&run, err)
	run.Verdict = history.Worst(run.Verdict, measuredVerdict(measured))
	return run, err
}

// measure makes the templates and measures on them.
func (c LoadConfig) measure(ctx context.Context, run *history.Run) (_ history.Measurement, err error) {
	type state struct {
		whose   string
		version int64
	}
	templates := map[state]*server.Template{}
	defer func() {
		for _, t := range templates {
			err = errors.Join(err, t.Drop(context.WithoutCancel(ctx)))
		}
	}()
	config := c.Load
	config.Server = c.Server
	for _, m := range c.Measure {
		at := state{m.Whose, m.Stage.Version}
		if templates[at] == nil {
			t, err := m.Stage.template(ctx, c.Server)
			if err != nil {
				return history.Measurement{}, err
			}
			templates[at] = t
		}
		for _, one := range m.Stage.Migrations {
			if !slices.ContainsFunc(run.Migrations, func(have history.Migration) bool { return have.Version == one.Version }) {
				run.Migrations = append(run.Migrations, one)
			}
		}
		config.Subjects = append(config.Subjects, load.Subject{Workload: m.Workload, At: m.Stage.Version, Template: templates[at], Base: m.Base})
	}
	return load.Run(ctx, config)
}

// measuredVerdict is what a measurement means: violated, when an invariant that must hold was broken or something required was not met.
func measuredVerdict(m history.Measurement) history.Verdict {
	verdict := history.Held
	for _, a := range m.Arms {
		if a.AsExpected {
			continue
		}
		verdict = history.Worst(verdict, a.Verdict)
	}
	for _, r := range m.Required {
		verdict = history.Worst(verdict, r.Verdict)
	}
	if m.Baseline != nil {
		compared := false
		for _, a := range m.Baseline.Against {
			if a.Why == "" {
				compared = true
				verdict = history.Worst(verdict, a.Verdict)
			}
		}
		if !compared {
			verdict = history.Worst(verdict, history.Unknown)
		}
	}
	return verdict
}
