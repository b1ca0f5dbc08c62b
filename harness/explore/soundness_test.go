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
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// Soundness: what programs can come to under every order, they come to under the reduced ones. First come those of testdata, which were wrong once
// or stand for a feature. The others are made from fixed seeds, some for each schema; INTERLOCK_EXPLORE_PROGRAMS says how many in all,
// INTERLOCK_EXPLORE_SEED makes others, and INTERLOCK_EXPLORE_PROGRAM is a single one, as JSON.

// found is what a search came to.
type found struct {
	outcomes  map[string]string // what programs can come to, with the first order that does
	schedules map[string]string // what each order comes to
	list      []string          // the same, in the order of the search
	choices   [][]int           // of each
	complete  bool
	took      time.Duration
}

func search(t testing.TB, e *explore.Explorer, p program, config explore.Config) (found, error) {
	f := found{outcomes: map[string]string{}, schedules: map[string]string{}}
	config.AtEnd, config.Note = !p.Look, p.note
	config.Each = func(i explore.Interleaving) bool {
		order := fmt.Sprint(i.Choices)
		if _, ok := f.outcomes[i.Note]; !ok {
			f.outcomes[i.Note] = order
		}
		f.schedules[order] = i.Note
		f.list = append(f.list, order+" "+i.Told+"\n"+i.Note)
		f.choices = append(f.choices, i.Choices)
		return true
	}
	result, err := e.Explore(t.Context(), p.scenario, config)
	if err == nil {
		err = result.Err
	}
	f.complete, f.took = result.Complete, time.Duration(result.Elapsed)
	return f, err
}

// The reduced searches, by name.
var reduced = map[string]explore.Config{
	"coarse":  {Strategy: sched.Reduced, Workers: 1},
	"refined": {Strategy: sched.Reduced, Workers: 1, Rules: sched.Rules{SeenWaiting: true}},
}

// compared is a program under every order and in other searches.
type compared struct {
	all         found
	others      map[string]found
	skipped     bool     // there are too many orders
	differences []string // in words
}

func compare(t testing.TB, e *explore.Explorer, p program, others map[string]explore.Config) compared {
	c := compared{others: map[string]found{}}
	differs := func(format string, args ...any) { c.differences = append(c.differences, fmt.Sprintf(format, args...)) }
	var err error
	c.all, err = search(t, e, p, explore.Config{Strategy: sched.All, Limit: tooMany + 1, Workers: 1})
	switch {
	case err != nil:
		differs("all: %v", err)
		return c
	case len(c.all.list) > tooMany:
		c.skipped = true
		return c
	case !c.all.complete:
		differs("all is not complete")
	}
	for _, name := range slices.Sorted(maps.Keys(others)) {
		f, err := search(t, e, p, others[name])
		c.others[name] = f
		if err != nil {
			differs("%s: %v", name, err)
			continue
		}
		if !f.complete {
			differs("%s is not complete", name)
		}
		for _, outcome := range slices.Sorted(maps.Keys(c.all.outcomes)) {
			if f.outcomes[outcome] == "" {
				differs("%s lost what %s comes to:\n%s", name, c.all.outcomes[outcome], outcome)
			}
		}
		for order, outcome := range f.schedules {
			if was := c.all.schedules[order]; was != outcome {
				differs("%s: %s comes to\n%s\nand under all to\n%s", name, order, outcome, was)
			}
		}
	}
	return c
}

// alone says how to run one program.
func alone(p program) string {
	return fmt.Sprintf("to run it alone: INTERLOCK_EXPLORE_PROGRAM='%s' go test ./harness/explore -run TestReducedLosesNothing",
		strings.ReplaceAll(p.String(), "'", `'\''`))
}

// figures are what programs of one class took.
type figures struct {
	programs, all int
	others        map[string]int
}

// tally counts programs by their levels.
type tally struct {
	sync.Mutex
	classes map[string]*figures
	skipped int
	runs    int
	took    time.Duration
}

func (y *tally) add(p program, c compared) {
	y.Lock()
	defer y.Unlock()
	if c.skipped {
		y.skipped++
		return
	}
	f := y.classes[p.class()]
	if f == nil {
		f = &figures{others: map[string]int{}}
		y.classes[p.class()] = f
	}
	f.programs++
	f.all += len(c.all.list)
	for name, o := range c.others {
		f.others[name] += len(o.list)
	}
	y.runs += len(c.all.list)
	y.took += c.all.took
}

func (y *tally) String() string {
	var b strings.Builder
	for _, class := range slices.Sorted(maps.Keys(y.classes)) {
		f := y.classes[class]
		fmt.Fprintf(&b, "%-16s %4d programs: all %d", class, f.programs, f.all)
		for _, name := range slices.Sorted(maps.Keys(f.others)) {
			fmt.Fprintf(&b, ", %s %d (%.1f : 1)", name, f.others[name], float64(f.all)/float64(max(f.others[name], 1)))
		}
		b.WriteByte('\n')
	}
	each := y.took / time.Duration(max(y.runs, 1))
	fmt.Fprintf(&b, "skipped for having more than %d orders: %d; an order took %v", tooMany, y.skipped, each.Round(10*time.Microsecond))
	return b.String()
}

// corpus returns the programs of testdata.
func corpus(t testing.TB) []program {
	text, err := os.ReadFile("testdata/programs.json")
	require.NoError(t, err)
	var programs []program
	require.NoError(t, json.Unmarshal(text, &programs))
	return programs
}

// explorers returns a function that returns the one for a schema.
func explorers(t testing.TB) func(schema string) *explore.Explorer {
	all := map[string]*explore.Explorer{}
	return func(schema string) *explore.Explorer {
		if all[schema] == nil {
			all[schema] = explorer(t, schemas[schema].sql)
		}
		return all[schema]
	}
}

func TestCorpus(t *testing.T) {
	servertest.Slow(t)
	on := explorers(t)
	for _, p := range corpus(t) {
		if p.Order != nil {
			continue // for TestOrdersRepeat
		}
		c := compare(t, on(p.Schema), p, reduced)
		require.Empty(t, strings.Join(c.differences, "\n"), "%s: %s", p.Why, alone(p))
		require.False(t, c.skipped)
		require.Greater(t, len(c.all.outcomes), 1, "%s: every order comes to the same, so it shows nothing", p.Why)
	}
}

func TestReducedLosesNothing(t *testing.T) {
	t.Parallel()
	if text := os.Getenv("INTERLOCK_EXPLORE_PROGRAM"); text != "" {
		var p program
		require.NoError(t, json.Unmarshal([]byte(text), &p))
		c := compare(t, explorer(t, schemas[p.Schema].sql), p, reduced)
		t.Logf("all %d, coarse %d, refined %d; %d outcomes", len(c.all.list), len(c.others["coarse"].list), len(c.others["refined"].list), len(c.all.outcomes))
		require.Empty(t, strings.Join(c.differences, "\n"))
		return
	}
	wanted, seed := 16, int64(1)
	if testing.Short() {
		wanted = 8
	}
	if n, err := strconv.Atoi(os.Getenv("INTERLOCK_EXPLORE_PROGRAMS")); err == nil {
		wanted = n
	}
	if n, err := strconv.ParseInt(os.Getenv("INTERLOCK_EXPLORE_SEED"), 10, 64); err == nil {
		seed = n
	}
	total := tally{classes: map[string]*figures{}}
	t.Cleanup(func() { t.Logf("\n%v", &total) })
	for name, s := range schemas {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := explorer(t, s.sql)
			parameters := gopter.DefaultTestParametersWithSeed(seed)
			parameters.MinSuccessfulTests = (wanted + len(schemas) - 1) / len(schemas)
			properties := gopter.NewProperties(parameters)
			properties.Property("reduced comes to what all comes to", prop.ForAll(func(p program) *gopter.PropResult {
				c := compare(t, e, p, reduced)
				total.add(p, c)
				if len(c.differences) > 0 {
					return &gopter.PropResult{Status: gopter.PropFalse, Labels: append(c.differences, alone(p))}
				}
				return &gopter.PropResult{Status: gopter.PropTrue}
			}, programs(name)))
			properties.TestingRun(t)
		})
	}
}

// TestALossIsSeen is the negative control: a search of one order does lose something.
func TestALossIsSeen(t *testing.T) {
	t.Parallel()
	p := minimal[0].program.withDefaults()
	c := compare(t, explorer(t, schemas[p.Schema].sql), p, map[string]explore.Config{"one": {Strategy: sched.Random, Limit: 1}})
	require.Contains(t, strings.Join(c.differences, "\n"), "one lost what")
}

// repeats executes an order of a program several times: it must go the same way each time.
func repeats(t *testing.T, e *explore.Explorer, p program, choices []int, times int) {
	first, err := e.Play(t.Context(), p.scenario(), choices)
	require.NoError(t, err)
	for range times {
		again, err := e.Play(t.Context(), p.scenario(), choices)
		require.NoError(t, err, "%v; %s", choices, alone(p))
		require.Equal(t, first.Interleaving, again.Interleaving, "%v; %s", choices, alone(p))
	}
}

func TestOrdersRepeat(t *testing.T) {
	servertest.Slow(t)
	t.Parallel()
	on := explorers(t)
	for _, p := range corpus(t) {
		if p.Order != nil {
			repeats(t, on(p.Schema), p, p.Order, 100)
		}
	}
}

// TestSearchesRepeat: a search finds the same interleavings in the same order, however often and with however many workers it is made, and an order
// executed again goes the same way.
func TestSearchesRepeat(t *testing.T) {
	servertest.Slow(t)
	t.Parallel()
	for name, s := range schemas {
		t.Run(name, func(t *testing.T) {
			e := explorer(t, s.sql)
			for seed := range int64(1) {
				p := generate(rand.New(rand.NewSource(seed)), name)
				for _, config := range []explore.Config{{Strategy: sched.Reduced}, {Strategy: sched.All, Limit: 20}} {
					config.Workers = 1
					first, err := search(t, e, p, config)
					require.NoError(t, err)
					for config.Workers = range 2 { // 0: as many as there are cores
						again, err := search(t, e, p, config)
						require.NoError(t, err)
						require.Equal(t, first.list, again.list, "%d workers; %s", config.Workers, alone(p))
					}
					repeats(t, e, p, first.choices[len(first.choices)/2], 10)
				}
			}
		})
	}
}

// TestRowsAreFoundAsBefore: the first run on a fresh database goes the way of the second, in which the planner must not think that the tables are smaller:
// by another plan, A waits for another lock.
func TestRowsAreFoundAsBefore(t *testing.T) {
	t.Parallel()
	for _, p := range corpus(t) {
		if p.Order != nil {
			repeats(t, explorer(t, schemas[p.Schema].sql), p, p.Order, 1)
		}
	}
}
