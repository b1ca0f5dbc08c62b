package race

import (
	"encoding/json"
	"fmt"
	"iter"
	"math/rand"
	"reflect"

	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"
)

// Workload generates scenarios: which clients, which operations, which times. An input is plain data that survives a round trip through
// JSON, so that a recorded race can be built again from its run file. Make one with [Define] or [Fixed].
type Workload struct {
	Name    string // what races, as "sessions"
	Variant string // what protects it, as "advisory"; may be empty
	Says    string // one line on the variant, as "pg_advisory_xact_lock, then check"

	// Expect says what must come of the invariants at one migration version. Nil: all must hold.
	Expect func(version int64) Expectation

	// Contending returns the input in which so many clients contend for one thing: what an explorer tries first. It is of the same type as the
	// generated ones. Nil: a generated input with so many clients is taken.
	Contending func(clients int) any

	// Stream is the workload without an end, to be measured. Nil: it cannot be measured.
	Stream func(Shape) Stream

	inputs gopter.Gen
	decode func(json.RawMessage) (any, error)
	build  func(input any) Scenario
}

// FullName returns name and variant as they are selected on the command line, as "sessions/advisory".
func (w Workload) FullName() string {
	if w.Variant == "" {
		return w.Name
	}
	return w.Name + "/" + w.Variant
}

// Expectation is what a run must show for a workload at one migration. An invariant that neither list names may go either way.
type Expectation struct {
	Hold  []string // a violation of one of these is a finding
	Break []string // negative controls: when one of these is not violated, the run could not have found the race, and fails

	// Control: a negative control of which it is not known what it breaks. At least one invariant must be violated.
	Control bool
}

// Input is one generated input of a workload. The zero value is not valid.
type Input struct{ value any }

// JSON returns the input as it is written to a run file.
func (in Input) JSON() json.RawMessage {
	raw, err := json.Marshal(in.value)
	if err != nil {
		panic(fmt.Sprintf("race: an input must be plain data: %v", err)) // a mistake in the workload's definition
	}
	return raw
}

// Define makes a workload from a gopter generator of inputs of type I, which must be plain data, and a function that builds the scenario of
// one. The generator's own shrinker is used to find the smallest input that still breaks an invariant.
func Define[I any](name string, inputs gopter.Gen, build func(I) Scenario) Workload {
	return Workload{
		Name:   name,
		inputs: inputs,
		decode: func(raw json.RawMessage) (any, error) {
			var in I
			err := json.Unmarshal(raw, &in)
			return in, err
		},
		build: func(in any) Scenario { return build(in.(I)) },
	}
}

// Fixed makes a workload of one scenario that has no inputs. build is called anew for every round.
func Fixed(name string, build func() Scenario) Workload {
	return Define(name, gen.Const(struct{}{}), func(struct{}) Scenario { return build() })
}

// Generate returns the input that belongs to seed: the same one on every machine.
func (w Workload) Generate(seed int64) (Input, error) {
	params := gopter.DefaultGenParameters()
	params.Rng = rand.New(rand.NewSource(seed))
	const tries = 1000 // a generator with a condition (SuchThat) may come up empty
	for range tries {
		if value, ok := w.inputs(params).Retrieve(); ok {
			return Input{value}, nil
		}
	}
	return Input{}, fmt.Errorf("workload %s: its generator made no input in %d tries; try a weaker condition", w.FullName(), tries)
}

// Contend returns an input with so many clients, which belongs to seed: that of Contending, or else one that is generated. False: there is
// none; the number of clients is given then, as in a workload of one scenario, or the generator makes others.
func (w Workload) Contend(clients int, seed int64) (Input, bool) {
	if w.Contending != nil {
		return Input{w.Contending(clients)}, true
	}
	const tries = 1000
	for n := range int64(tries) {
		if in, err := w.Generate(seed + n); err == nil && len(w.Scenario(in).Clients) == clients {
			return in, true
		}
	}
	return Input{}, false
}

// Decode returns the input that [Input.JSON] wrote.
func (w Workload) Decode(raw json.RawMessage) (Input, error) {
	value, err := w.decode(raw)
	if err != nil {
		return Input{}, fmt.Errorf("workload %s: its input has changed since it was recorded: %w; try making the run again", w.FullName(), err)
	}
	return Input{value}, nil
}

// Scenario builds the scenario of an input. Clients without a name are called A, B, C and so on.
func (w Workload) Scenario(in Input) Scenario { return w.build(in.value).Named() }

// Shrinks returns the inputs that are one step simpler, in the order of the generator's shrinker.
func (w Workload) Shrinks(in Input) iter.Seq[Input] {
	return func(yield func(Input) bool) {
		shrinker := w.inputs(gopter.DefaultGenParameters()).Shrinker
		if shrinker == nil {
			return
		}
		next := shrinker(in.value)
		for value, ok := next(); ok; value, ok = next() {
			if reflect.DeepEqual(value, in.value) {
				continue // a shrinker at its end
			}
			if !yield(Input{value}) {
				return
			}
		}
	}
}
