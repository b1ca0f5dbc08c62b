package main

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/sched"
)

type exploreCommand struct {
	Scenarios []string `arg:"" help:"What to explore: sessions/advisory, or sessions for what production does. 'interlock list' names them." name:"scenario"`
	schema
	At          int64         `help:"Stop at this migration. Default: the last." placeholder:"VERSION" group:"Migrations"`
	Clients     int           `help:"How many clients contend." default:"2" group:"Bounds"`
	Strategy    string        `help:"Which orders to run: reduced (one of each class that Postgres can tell apart), all, random or pct." enum:"reduced,all,random,pct" default:"reduced" group:"Bounds"`
	Preemptions int           `help:"The most preemptions that an order of strategy all may have; -1: any number." default:"-1" group:"Bounds"`
	Depth       int           `help:"Depth of the bugs that strategy pct looks for." default:"3" group:"Bounds"`
	Limit       int           `help:"The most interleavings of one scenario; 0: no limit, but 1,000 of random and pct." placeholder:"N" group:"Bounds"`
	For         time.Duration `help:"The longest that one scenario may take; 0: no limit." group:"Bounds"`
	Workers     int           `help:"Databases that are worked on at once; 0: one for each core. The result does not depend on it." placeholder:"N" group:"Bounds"`
	AtEnd       bool          `help:"Look at the invariants when all clients are done, not after every commit as well: fewer orders can be told apart then." group:"Bounds"`
	Seed        int64         `help:"Seed of random and pct, and of generated inputs. Default: a new one, which is printed." placeholder:"N" group:"Bounds"`
	Keep        bool          `help:"Keep the database of a violation, print its DSN, and, where the server is ours, keep it running until Ctrl-C."`
}

func (c *exploreCommand) Run(ctx context.Context, out *output, pg *postgres) error {
	switch {
	case c.Clients < 2:
		return usage("--clients %d: fewer than two race with nobody; try --clients 2", c.Clients)
	case c.Limit < 0 || c.For < 0 || c.Workers < 0 || c.Depth < 1:
		return usage("--limit, --for and --workers must not be negative, and --depth must be at least 1")
	case c.Preemptions >= 0 && c.Strategy != string(sched.All):
		return usage("--preemptions bounds --strategy all; try adding that")
	}
	set, err := c.open()
	if err != nil {
		return err
	}
	if c.At == 0 {
		versions := set.Versions()
		c.At = versions[len(versions)-1]
	}
	stages, err := set.stages(c.At)
	if err != nil {
		return err
	}
	workloads, err := selectWorkloads(asProduction(c.Scenarios), c.Clients)
	if err != nil {
		return err
	}
	if c.Seed == 0 {
		c.Seed = rand.Int64N(1_000_000) + 1
	}
	config := harness.Config{
		Stages: stages, Workloads: workloads, Seed: c.Seed, Clients: c.Clients, Keep: c.Keep,
		Explore: explore.Config{
			Strategy: sched.Strategy(c.Strategy), Depth: c.Depth, Limit: c.Limit, For: c.For, Workers: c.Workers, AtEnd: c.AtEnd,
		},
	}
	switch c.Preemptions {
	case -1:
	case 0:
		config.Explore.Preemptions = -1 // none at all
	default:
		config.Explore.Preemptions = c.Preemptions
	}
	return play(ctx, out, pg, set, config, harness.Explore)
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
