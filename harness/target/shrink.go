package target

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/leanovate/gopter"
)

// fewest is how many clients a race takes. Shrinking goes no lower: one client beside a starting row may break an invariant, but shows no race.
const fewest = 2

// shrink offers inputs that are one step simpler than in: fewer clients, then fewer requests, then simpler values. Each is simpler in one respect and
// no less simple in any other, so shrinking ends.
func (f *File) shrink(in Input) gopter.Shrink {
	var simpler []Input
	if len(in.Clients) > fewest {
		for i := range in.Clients {
			simpler = append(simpler, Input{slices.Delete(slices.Clone(in.Clients), i, i+1)})
		}
	}
	for i, c := range in.Clients {
		for j := range c.Requests {
			if fewer := slices.Delete(slices.Clone(c.Requests), j, j+1); len(fewer) > 0 && f.possible(c, fewer) {
				c.Requests = fewer
				simpler = append(simpler, in.with(i, c))
			}
			c = in.Clients[i]
		}
	}
	for _, name := range f.generatorNames() {
		simpler = append(simpler, f.simplerValues(in, name)...)
	}
	return gopter.Shrink(func() (any, bool) {
		if len(simpler) == 0 {
			return nil, false
		}
		next := simpler[0]
		simpler = simpler[1:]
		return next, true
	})
}

// with returns the input with another i-th client.
func (in Input) with(i int, c ClientInput) Input {
	clients := slices.Clone(in.Clients)
	clients[i] = c
	return Input{clients}
}

// possible reports whether what the requests of a client capture is captured before it is used, as far as it was before some were left out.
func (f *File) possible(c ClientInput, requests []RequestInput) bool {
	def, err := f.definition(c)
	if err != nil {
		return false
	}
	had := map[string]bool{}
	for _, r := range requests {
		for _, name := range r.open() {
			captured := slices.ContainsFunc(def.Requests, func(r Request) bool { _, ok := r.Capture[name]; return ok })
			if captured && !had[name] {
				return false
			}
		}
		for name := range def.Requests[r.Number].Capture {
			had[name] = true
		}
	}
	return true
}

// simplerValues returns the input with simpler values of a generator, of one client or, where they share it, of all.
func (f *File) simplerValues(in Input, name string) []Input {
	g := f.Generators[name]
	var simpler []Input
	if g.Shared {
		first := slices.IndexFunc(in.Clients, func(c ClientInput) bool { return c.Values[name] != nil })
		if first < 0 {
			return nil
		}
		for _, value := range g.simpler(in.Clients[first].Values[name]) {
			next := in
			for i, c := range in.Clients {
				if c, ok := f.revalued(c, name, value); ok {
					next = next.with(i, c)
				}
			}
			simpler = append(simpler, next)
		}
		return simpler
	}
	for i, c := range in.Clients {
		for _, value := range g.simpler(c.Values[name]) {
			if c, ok := f.revalued(c, name, value); ok {
				simpler = append(simpler, in.with(i, c))
			}
		}
	}
	return simpler
}

// revalued returns a client with another value. False: it has none.
func (f *File) revalued(c ClientInput, name string, value json.RawMessage) (ClientInput, bool) {
	def, err := f.definition(c)
	if err != nil || c.Values[name] == nil {
		return c, false
	}
	var numbers []int
	for _, r := range c.Requests {
		numbers = append(numbers, r.Number)
	}
	c.Values = maps.Clone(c.Values)
	c.Values[name] = value
	f.ask(def, &c, numbers)
	return c, true
}
