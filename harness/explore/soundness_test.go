package explore_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/prop"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sched"
)

// Soundness: what programs can come to under every order, they come to under the reduced ones. Programs are made from fixed seeds, some for each
// schema; INTERLOCK_EXPLORE_PROGRAMS says how many in all, INTERLOCK_EXPLORE_SEED takes others, INTERLOCK_EXPLORE_PROGRAM is one as JSON.

// found is what a search came to.
type found struct {
	outcomes  map[string][]int  // the first choices that led there
	schedules map[string]string // outcomes by choices
	order     []string          // choices and outcomes, in the order of the search
	runs      int
	complete  bool
	took      time.Duration
}

func search(t testing.TB, e *explore.Explorer, p program, config explore.Config) (found, error) {
	f := found{outcomes: map[string][]int{}, schedules: map[string]string{}}
	config.AtEnd = !p.Look
	config.Note = p.note
	config.Each = func(i explore.Interleaving) bool {
		f.runs++
		if _, ok := f.outcomes[i.Note]; !ok {
			f.outcomes[i.Note] = i.Choices
		}
		f.schedules[fmt.Sprint(i.Choices)] = i.Note
		f.order = append(f.order, fmt.Sprint(i.Choices, i.Told, i.Note))
		return true
	}
	result, err := e.Explore(t.Context(), func() race.Scenario { return p.scenario() }, config)
	if err == nil {
		err = result.Err
	}
	f.complete, f.took = result.Complete, time.Duration(result.Elapsed)
	return f, err
}

// compared is a program under every order and under the reduced ones.
type compared struct {
	all, coarse, refined found
	skipped              bool
	differences          []string
}

func compare(t testing.TB, e *explore.Explorer, p program) compared {
	var c compared
	differs := func(format string, args ...any) { c.differences = append(c.differences, fmt.Sprintf(format, args...)) }
	var err error
	c.all, err = search(t, e, p, explore.Config{Strategy: sched.All, Limit: tooMany + 1, Workers: 1})
	if err != nil {
		differs("all: %v", err)
		return c
	}
	if c.all.runs > tooMany {
		c.skipped = true
		return c
	}
	if !c.all.complete {
		differs("all: not complete")
	}
	for name, of := range map[string]struct {
		rules sched.Rules
		into  *found
	}{"coarse": {sched.Rules{}, &c.coarse}, "refined": {sched.Rules{SeenWaiting: true}, &c.refined}} {
		f, err := search(t, e, p, explore.Config{Strategy: sched.Reduced, Rules: of.rules, Workers: 1})
		*of.into = f
		if err != nil {
			differs("%s: %v", name, err)
			continue
		}
		if !f.complete {
			differs("%s: not complete", name)
		}
		for _, outcome := range slices.Sorted(maps.Keys(c.all.outcomes)) {
			if f.outcomes[outcome] == nil {
				differs("%s lost what %v comes to:\n%s", name, c.all.outcomes[outcome], outcome)
			}
		}
		for choices, outcome := range f.schedules {
			if was, ok := c.all.schedules[choices]; !ok {
				differs("%s: %s is no order of all, and comes to\n%s", name, choices, outcome)
			} else if was != outcome {
				differs("%s: %s comes to\n%s\nand under all to\n%s", name, choices, outcome, was)
			}
		}
	}
	return c
}

// figures are what a number of programs took.
type figures struct{ programs, all, coarse, refined int }

// tally counts programs by their levels.
type tally struct {
	sync.Mutex
	classes map[string]*figures
	skipped int
	took    time.Duration
	runs    int
}

func (y *tally) add(p program, c compared) {
	y.Lock()
	defer y.Unlock()
	if c.skipped {
		y.skipped++
		return
	}
	if y.classes == nil {
		y.classes = map[string]*figures{}
	}
	f := y.classes[p.class()]
	if f == nil {
		f = &figures{}
		y.classes[p.class()] = f
	}
	f.programs++
	f.all += c.all.runs
	f.coarse += c.coarse.runs
	f.refined += c.refined.runs
	y.took += c.all.took
	y.runs += c.all.runs
}

func (y *tally) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(y.classes)) {
		f := y.classes[name]
		fmt.Fprintf(&b, "%-16s %4d programs: all %d, coarse %d (1:%.1f), refined %d (1:%.1f)\n",
			name, f.programs, f.all, f.coarse, float64(f.all)/float64(f.coarse), f.refined, float64(f.all)/float64(f.refined))
	}
	fmt.Fprintf(&b, "skipped, for more than %d orders: %d; %v a run of all", tooMany, y.skipped, (y.took / time.Duration(max(y.runs, 1))).Round(time.Microsecond))
	return b.String()
}

func TestReducedLosesNothing(t *testing.T) {
	t.Parallel()
	if text := os.Getenv("INTERLOCK_EXPLORE_PROGRAM"); text != "" {
		var p program
		require.NoError(t, json.Unmarshal([]byte(text), &p))
		c := compare(t, explorer(t, schemas[p.Schema].sql), p)
		t.Logf("all %d, coarse %d, refined %d; %d outcomes", c.all.runs, c.coarse.runs, c.refined.runs, len(c.all.outcomes))
		require.Empty(t, strings.Join(c.differences, "\n"))
		return
	}
	wanted, seed := 100, int64(1)
	if n, err := strconv.Atoi(os.Getenv("INTERLOCK_EXPLORE_PROGRAMS")); err == nil {
		wanted = n
	}
	if n, err := strconv.ParseInt(os.Getenv("INTERLOCK_EXPLORE_SEED"), 10, 64); err == nil {
		seed = n
	}
	var total tally
	t.Cleanup(func() { t.Logf("\n%v", &total) })
	for name, s := range schemas {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := explorer(t, s.sql)
			parameters := gopter.DefaultTestParametersWithSeed(seed)
			parameters.Rng = rand.New(rand.NewSource(seed))
			parameters.MinSuccessfulTests = wanted / len(schemas)
			properties := gopter.NewProperties(parameters)
			properties.Property("reduced comes to what all comes to", prop.ForAll(func(p program) *gopter.PropResult {
				c := compare(t, e, p)
				total.add(p, c)
				if len(c.differences) == 0 {
					return &gopter.PropResult{Status: gopter.PropTrue}
				}
				return &gopter.PropResult{Status: gopter.PropFalse, Labels: append(c.differences, fmt.Sprintf(
					"to run it alone: INTERLOCK_EXPLORE_PROGRAM='%s' go test ./harness/explore -run TestReducedLosesNothing", strings.ReplaceAll(p.String(), "'", `'\''`)))}
			}, programs(name)))
			properties.TestingRun(t)
		})
	}
}
