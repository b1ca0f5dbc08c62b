package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/load"
	"github.com/interlock-pg/interlock/scenarios"
)

type loadCommand struct {
	Scenarios []string `arg:"" optional:"" help:"Scenarios (sessions) or defences (sessions/advisory) to measure side by side; none: those that are safe, beside none."`
	Target    []string `help:"Measure an application instead, in any language, as a target file tells (docs/TARGET.md); given several times, their applications side by side." placeholder:"FILE" sep:"none"`
	schema
	At      []int64 `help:"Measure at these migrations: 1,2,3. Without it: none at the first, the others at the last." placeholder:"VERSION" sep:"," group:"Migrations"`
	Against string  `help:"What the others of its scenario are compared with, as sessions/none or none. Without it: none, or the first." placeholder:"DEFENCE"`

	Clients  int           `help:"How many clients at once." default:"8" group:"Load"`
	Ramp     string        `help:"Numbers of clients to go through, to find the knee: 10:200:10." placeholder:"FROM:TO:STEP" group:"Load"`
	Rate     float64       `help:"Operations a second that arrive, answered or not; latency counts from when each should have begun. Without it, each client goes on when it is answered." placeholder:"N" group:"Load"`
	Arrivals string        `help:"How they arrive: constant or poisson." enum:"constant,poisson" default:"poisson" group:"Load"`
	For      time.Duration `help:"How long to measure, all together." default:"30s" group:"Load"`
	Warmup   time.Duration `help:"How long each runs before it is measured." default:"250ms" group:"Load"`
	Slice    time.Duration `help:"How long each runs before it is the next one's turn." default:"100ms" group:"Load"`
	Devices  int           `help:"Over how many devices the operations spread; 1 is one hot device. Default: 100." placeholder:"N" group:"Load"`
	Zipf     float64       `help:"How unevenly: 0 is evenly; with 1, the second device is asked for half as often as the first." default:"0" group:"Load"`
	Rows     int           `help:"Rows in each table before. Default: 10,000." placeholder:"N" group:"Load"`
	Seed     int64         `help:"Seed of the operations and of the order of turns. Without it, one is chosen and printed." placeholder:"N" group:"Load"`

	Require   []string `help:"A threshold that each must meet, as 'p99 < 50ms', 'throughput > 500/s' or 'sessions/constraint: failed == 0'; may be given several times." placeholder:"THRESHOLD" sep:"none" group:"Judging"`
	Baseline  string   `help:"The run file of an earlier load run on this machine; slower than that, with 95 % confidence and beyond the tolerance, is a violation." placeholder:"RUNFILE" group:"Judging"`
	Tolerance float64  `help:"How much slower than the baseline is as good: 0.05 is five per cent." default:"0.05" group:"Judging"`
}

// unprotected is the defence that is none: what others cost, they cost beside it.
const unprotected = "none"

func (c *loadCommand) Run(ctx context.Context, out *output, pg *postgres) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	var set migrationSet
	if len(c.Target) > 0 {
		set, err = c.applications(&config)
	} else {
		set, err = c.scenarios(&config)
	}
	if err != nil {
		return err
	}
	if c.Baseline != "" {
		run, err := readRun(c.Baseline)
		if err != nil {
			return err
		}
		if run.Load == nil {
			return usage("--baseline %s is not a run of load; try the run.json that interlock load wrote", c.Baseline)
		}
		config.Baseline, config.BaselineFile = run.Load, c.Baseline
	}
	provider, err := pg.provider()
	if err != nil {
		return err
	}
	if err := writable(out.Out); err != nil {
		return err
	}
	sized := config.Load
	sized.Subjects = make([]load.Subject, len(config.Measure))
	settings := pg.config(out)
	settings.Settings = load.Settings(sized.Connections())
	srv, err := provider.Start(ctx, settings)
	if err != nil {
		return err
	}
	progress := out.progress()
	config.Server, config.Load.Progress = srv, progress.Update
	result, err := harness.Load(ctx, config)
	progress.Close()
	set.describe(&result)
	if srv.Owned && result.Load != nil {
		result.Load.Lacking = append(result.Load.Lacking, "the disk: the server is Interlock's own and does not wait for it; with --postgres DSN, yours does")
	}
	if err := errors.Join(err, out.finish(&result), srv.Stop(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	return verdict(result)
}

// config returns what the flags say, apart from what is measured.
func (c *loadCommand) config() (harness.LoadConfig, error) {
	config := harness.LoadConfig{Tolerance: c.Tolerance}
	switch {
	case c.Clients < 1 || c.Devices < 0 || c.Rows < 0:
		return config, usage("--clients, --devices and --rows must be at least 1")
	case c.For <= 0 || c.Warmup <= 0 || c.Slice < 10*time.Millisecond:
		return config, usage("--for and --warmup must be more than 0, and --slice at least 10ms")
	case c.Rate < 0 || c.Zipf < 0 || c.Tolerance < 0:
		return config, usage("--rate, --zipf and --tolerance must not be negative")
	}
	clients := []int{c.Clients}
	if c.Ramp != "" {
		var err error
		if clients, err = ramp(c.Ramp); err != nil {
			return config, err
		}
	}
	if c.Seed == 0 {
		c.Seed = rand.Int64N(1_000_000) + 1
	}
	config.Load = load.Config{
		Clients: clients, Rate: c.Rate, Arrivals: history.Arrivals(c.Arrivals), For: c.For, Warmup: c.Warmup, Slice: c.Slice,
		Devices: c.Devices, Zipf: c.Zipf, Rows: c.Rows, Seed: c.Seed,
	}
	for _, says := range c.Require {
		r, err := load.ParseRequirement(says)
		if err != nil {
			return config, usage("--require %w", err)
		}
		config.Require = append(config.Require, r)
	}
	return config, nil
}

// mostClients is more than any server takes.
const mostClients = 100_000

// ramp reads numbers of clients, as 10:200:10.
func ramp(says string) (clients []int, err error) {
	wrong := usage("--ramp %s: it must be the first number of clients, the last and the step, as 10:200:10", says)
	parts := strings.Split(says, ":")
	if len(parts) != 3 {
		return nil, wrong
	}
	var n [3]int
	for i, part := range parts {
		if n[i], err = strconv.Atoi(part); err != nil || n[i] < 1 || n[i] > mostClients {
			return nil, wrong
		}
	}
	for at := n[0]; at <= n[1]; at += n[2] {
		clients = append(clients, at)
	}
	if len(clients) < 2 {
		return nil, wrong
	}
	return clients, nil
}

// applications has the load measure those of target files. All of their invariants must hold.
func (c *loadCommand) applications(config *harness.LoadConfig) (migrationSet, error) {
	switch {
	case len(c.Scenarios) > 0:
		return migrationSet{}, usage("--target says what to measure; try it without %s, and --target before each further file", c.Scenarios[0])
	case c.Migrations != "" || c.Layout != "" || len(c.At) > 0:
		return migrationSet{}, usage("--target says on which migrations to measure; try it without --migrations, --layout and --at")
	case c.Devices != 0 || c.Zipf != 0 || c.Rows != 0:
		return migrationSet{}, usage("--devices, --zipf and --rows shape Interlock's own scenarios; try the generators and the reset of the target file")
	}
	var set migrationSet
	listens := map[string]string{}
	for _, path := range c.Target {
		t, err := openTarget(path)
		if err != nil {
			return set, err
		}
		if i := slices.IndexFunc(config.Measure, func(m harness.Measured) bool { return m.Workload.FullName() == t.workload.FullName() }); i >= 0 {
			return set, usage("%s and %s are both called %s; try another name in one of them", c.Target[i], path, t.workload.FullName())
		}
		if other := listens[t.listen]; t.listen != "" && other != "" {
			return set, usage("the applications of %s and %s are both told that Postgres is at %s; try another listen in one of them", other, path, t.listen)
		}
		listens[t.listen] = path
		if set.target == "" {
			set = t.set
		}
		config.Measure = append(config.Measure, harness.Measured{Workload: t.workload, Stage: t.stage, Whose: path})
	}
	set.target = strings.Join(c.Target, ", ")
	return set, c.base(config.Measure)
}

// scenarios has the load measure scenarios of Interlock's own.
func (c *loadCommand) scenarios(config *harness.LoadConfig) (migrationSet, error) {
	set, err := c.open()
	if err == nil {
		config.Measure, err = c.measure(set)
	}
	return set, err
}

// measure returns what is measured side by side.
func (c *loadCommand) measure(set migrationSet) ([]harness.Measured, error) {
	selected, err := selectWorkloads(c.Scenarios, 0)
	if err != nil {
		return nil, err
	}
	selected = set.expectations(selected)
	versions := set.Versions()
	first, last := versions[0], versions[len(versions)-1]
	if !set.own {
		first = last
	}
	for _, at := range c.At {
		if !slices.Contains(versions, at) {
			return nil, usage("--at %d: there is no such migration; try one of %s", at, strings.Trim(fmt.Sprint(versions), "[]"))
		}
	}
	var all []harness.Measured
	for _, w := range selected {
		if len(c.Scenarios) == 0 && scenarios.IsControl(w) && w.Variant != unprotected {
			continue
		}
		ats := c.At
		switch {
		case len(ats) > 0:
		case scenarios.IsControl(w):
			ats = []int64{first}
		default:
			ats = []int64{last}
		}
		for _, at := range ats {
			all = append(all, harness.Measured{Workload: w, Stage: set.stage(at)})
		}
	}
	return all, c.base(all)
}

// base marks what the others of each scenario are compared with: what the user named, else what is unprotected, else the first.
func (c *loadCommand) base(all []harness.Measured) error {
	named := false
	for i, m := range all {
		first := slices.IndexFunc(all, func(o harness.Measured) bool { return o.Workload.Name == m.Workload.Name })
		is := func(o harness.Measured) bool {
			return o.Workload.Name == m.Workload.Name && (c.Against == o.Workload.FullName() || c.Against == o.Workload.Variant || c.Against == "" && o.Workload.Variant == unprotected)
		}
		base := slices.IndexFunc(all, is)
		named = named || base >= 0
		if base < 0 {
			base = first
		}
		all[i].Base = i == base
	}
	if c.Against != "" && !named {
		return usage("--against %s is not among what is measured; try one of the defences that interlock list names", c.Against)
	}
	return nil
}
