package isolation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/leanovate/gopter/gen"

	"github.com/interlock-pg/interlock/harness/race"
)

// Input is a spec as the input of a workload. A run file keeps it, and it is enough to build the race again. Make one with [NewInput].
type Input struct {
	File       string      `json:"file"` // where the text is from
	Text       string      `json:"spec"`
	Invariants []Invariant `json:"invariants,omitempty"`

	spec *Spec // of Text
}

// Invariant is a query on the tables of a spec; a row that it returns breaks it.
type Invariant struct {
	Name string `json:"name"`
	Says string `json:"says,omitempty"` // one sentence
	SQL  string `json:"sql"`
}

// NewInput reads a spec, for its sessions to be raced. What is wrong with it is a [*SyntaxError], but for sessions of one name, which no race can have.
func NewInput(file, text string, invariants ...Invariant) (Input, error) {
	in := Input{File: file, Text: text, Invariants: invariants}
	return in, in.parse()
}

func (in *Input) parse() (err error) {
	if in.spec, err = Parse(in.File, []byte(in.Text)); err != nil {
		return err
	}
	named := map[string]bool{}
	for _, s := range in.spec.Sessions {
		if named[s.Name] {
			return fmt.Errorf("%s: there are two sessions called %q; try another name for one of them", in.File, s.Name)
		}
		named[s.Name] = true
	}
	return nil
}

// UnmarshalJSON reads what was written to a run file.
func (in *Input) UnmarshalJSON(raw []byte) error {
	type plain Input
	if err := json.Unmarshal(raw, (*plain)(in)); err != nil {
		return err
	}
	return in.parse()
}

// Spec returns the spec, which is not to be changed.
func (in Input) Spec() *Spec { return in.spec }

// Workload returns the workload that has only this input.
func (in Input) Workload(name, variant string) race.Workload {
	w := race.Define(name, gen.Const(in), Input.scenario)
	w.Variant = variant
	w.Contending = func(int) any { return in } // there are as many clients as there are sessions
	return w
}

func (in Input) scenario() race.Scenario {
	s := in.spec.Scenario()
	for _, inv := range in.Invariants {
		s.Invariants = append(s.Invariants, race.Invariant{Name: inv.Name, Says: inv.Says, SQL: inv.SQL})
	}
	return s
}

// Apply sets up what the spec begins with in an empty database, and tries the invariants there: an error says what is wrong with the spec, or with
// one of them. It is made for the stage of a run.
func (in Input) Apply(ctx context.Context, config *pgx.ConnConfig) (err error) {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	for _, setup := range in.spec.Setups {
		if err := send(ctx, conn, setup); err != nil {
			return fmt.Errorf("%s: its setup: %w; try it in psql", in.File, err)
		}
	}
	for _, inv := range in.scenario().Invariants {
		if _, err := inv.Offending(ctx, conn); err != nil {
			return err
		}
	}
	return nil
}
