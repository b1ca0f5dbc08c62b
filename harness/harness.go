package harness

import (
	"github.com/leanovate/gopter"

	"github.com/interlock-pg/interlock/harness/race"
)

// The words of a race; package race says what each of them means.
type (
	Scenario    = race.Scenario
	Client      = race.Client
	Operation   = race.Operation
	Outcome     = race.Outcome
	Answer      = race.Answer
	Invariant   = race.Invariant
	Workload    = race.Workload
	Expectation = race.Expectation
	Shape       = race.Shape
	Stream      = race.Stream
	System      = race.System
	Instance    = race.Instance
)

// What a client was told.
const (
	Created  = race.Created
	Resumed  = race.Resumed
	Done     = race.Done
	Conflict = race.Conflict
	NotFound = race.NotFound
	Failed   = race.Failed
	Unknown  = race.Unknown
)

// Define makes a workload from a gopter generator of inputs and a function that builds the scenario of one; see [race.Define].
func Define[I any](name string, inputs gopter.Gen, build func(I) Scenario) Workload {
	return race.Define(name, inputs, build)
}

// Fixed makes a workload of one scenario that has no inputs; see [race.Fixed].
func Fixed(name string, build func() Scenario) Workload { return race.Fixed(name, build) }
