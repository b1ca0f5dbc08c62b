package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/sched"
)

type exploreCommand struct {
	Scenarios  []string `arg:"" optional:"" help:"What to explore: sessions/advisory, or sessions for what production does ('interlock list' names them); or an isolation spec, FILE.spec." name:"scenario"`
	Target     string   `help:"Explore an application instead, in any language: its own statements, as a target file tells (docs/TARGET.md)." placeholder:"FILE"`
	Faults     []string `help:"What may happen once in an interleaving: to a connection, lost-ack (the answer to COMMIT), disconnect, terminate, delay; to the server, restart." enum:"lost-ack,disconnect,terminate,delay,restart" placeholder:"FAULT,…"`
	Anomalies  bool     `help:"Explore the ten classical anomalies instead, at each isolation level, and print which of them the server permits."`
	Invariants []string `help:"What must hold of a spec: a query that returns no row, after every commit and at the end. Repeatable; without any, what the sessions were told is counted." name:"invariant" sep:"none" placeholder:"NAME=SELECT…"`
	schema
	At          int64         `help:"Stop at this migration. Default: the last." placeholder:"VERSION" group:"Migrations"`
	Clients     int           `help:"How many clients contend. Default: 2." placeholder:"N" group:"Bounds"`
	Strategy    string        `help:"Which orders to run: reduced (one of each class that Postgres can tell apart), all, random or pct; auto is reduced, but with --target or --faults all, and for an application pct when half of the time is over." enum:"auto,reduced,all,random,pct" default:"auto" group:"Bounds"`
	Preemptions int           `help:"The most preemptions that an order of strategy all may have; -1: any number." default:"-1" group:"Bounds"`
	Depth       int           `help:"Depth of the bugs that strategy pct looks for." default:"3" group:"Bounds"`
	Limit       int           `help:"The most interleavings of one scenario; 0: no limit, but 1,000 of random and pct." placeholder:"N" group:"Bounds"`
	For         time.Duration `help:"The longest that one scenario may take; 0: no limit, but a minute with --target." group:"Bounds"`
	Workers     int           `help:"Databases that are worked on at once; 0: one for each core. The result does not depend on it." placeholder:"N" group:"Bounds"`
	AtEnd       bool          `help:"Look at the invariants when all clients are done, not after every commit as well: fewer orders can be told apart then." group:"Bounds"`
	Seed        int64         `help:"Seed of random and pct, and of generated inputs. Default: a new one, which is printed." placeholder:"N" group:"Bounds"`
	Keep        bool          `help:"Keep the database of a violation, print its DSN, and, where the server is ours, keep it running until Ctrl-C."`
}

func (c *exploreCommand) Run(ctx context.Context, out *output, pg *postgres) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Seed == 0 {
		c.Seed = rand.Int64N(1_000_000) + 1
	}
	set, config := migrationSet{own: true}, harness.Config{Seed: c.Seed, Clients: c.Clients, Keep: c.Keep, Explore: c.bounds()}
	var err error
	switch {
	case c.Target != "":
		set, err = c.application(&config)
	case c.Anomalies:
		exploreAnomalies(&config)
	case slices.ContainsFunc(c.Scenarios, isSpec):
		err = c.spec(out, &config)
	default:
		set, err = c.scenarios(&config)
	}
	if err != nil {
		return err
	}
	return play(ctx, out, pg, set, config, harness.Explore)
}

// check says what was mistyped.
func (c *exploreCommand) check() error {
	alone := c.Target != "" || c.Anomalies
	specs := slices.ContainsFunc(c.Scenarios, isSpec)
	switch {
	case len(c.Scenarios) == 0 && !alone:
		return usage("nothing to explore; try: interlock explore sessions, FILE.spec, --target FILE or --anomalies")
	case c.Target != "" && (c.Anomalies || len(c.Scenarios) > 0 || c.Migrations != "" || c.Layout != "" || c.At != 0):
		return usage("--target says what to explore, and on which migrations; try it alone")
	case len(c.Faults) > 0 && c.Strategy == string(sched.Reduced):
		return usage("--strategy reduced knows nothing of faults; try --strategy all")
	case c.Anomalies && len(c.Scenarios) > 0:
		return usage("--anomalies explores those and nothing else; try it without %s", c.Scenarios[0])
	case specs && len(c.Scenarios) > 1:
		return usage("a spec is explored alone: it has tables of its own; try one after another")
	case (specs || c.Anomalies) && (c.Clients != 0 || c.Migrations != "" || c.Layout != "" || c.At != 0):
		return usage("a spec has tables and sessions of its own; try it without --migrations, --layout, --at and --clients")
	case len(c.Invariants) > 0 && !specs:
		return usage("--invariant goes with FILE.spec; try naming one")
	case c.Clients < 2 && c.Clients != 0:
		return usage("--clients %d: fewer than two race with nobody; try --clients 2", c.Clients)
	case c.Limit < 0 || c.For < 0 || c.Workers < 0 || c.Depth < 1:
		return usage("--limit, --for and --workers must not be negative, and --depth must be at least 1")
	case c.Preemptions >= 0 && c.Strategy != string(sched.All) && (c.Strategy != byItself || c.Target == "" && len(c.Faults) == 0):
		return usage("--preemptions bounds --strategy all; try adding that")
	}
	return nil
}

// byItself leaves the strategy to the explorer.
const byItself = "auto"

func (c *exploreCommand) bounds() explore.Config {
	config := explore.Config{
		Faults: faults(c.Faults), Strategy: sched.Strategy(c.Strategy), Depth: c.Depth, Limit: c.Limit, For: c.For, Workers: c.Workers, AtEnd: c.AtEnd,
	}
	if c.Strategy == byItself {
		config.Strategy = ""
	}
	switch c.Preemptions {
	case -1:
	case 0:
		config.Preemptions = -1 // none at all
	default:
		config.Preemptions = c.Preemptions
	}
	return config
}

func faults(names []string) []history.Fault {
	var all []history.Fault
	for _, name := range names {
		all = append(all, history.Fault(name))
	}
	return all
}

// application has the run explore an application.
func (c *exploreCommand) application(config *harness.Config) (migrationSet, error) {
	t, err := openTarget(c.Target)
	if err != nil {
		return migrationSet{}, err
	}
	config.Workloads, config.Stages = []harness.Workload{t.workload}, []harness.Stage{t.stage}
	if config.Clients == 0 {
		config.Clients = t.clients
	}
	return t.set, nil
}

// scenarios has the run explore scenarios of Interlock's own.
func (c *exploreCommand) scenarios(config *harness.Config) (migrationSet, error) {
	set, err := c.open()
	if err != nil {
		return set, err
	}
	if c.At == 0 {
		versions := set.Versions()
		c.At = versions[len(versions)-1]
	}
	if config.Stages, err = set.stages(c.At); err != nil {
		return set, err
	}
	config.Workloads, err = selectWorkloads(asProduction(c.Scenarios), max(c.Clients, 2))
	return set, err
}

// asProduction adds the defence that production has to scenarios that are named without one.
func asProduction(names []string) []string {
	full := make([]string, len(names))
	for i, name := range names {
		if full[i] = name; !strings.Contains(name, "/") {
			full[i] = name + "/none"
		}
	}
	return full
}
