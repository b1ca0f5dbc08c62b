package target

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/leanovate/gopter"

	"github.com/interlock-pg/interlock/harness/internal/strict"
	"github.com/interlock-pg/interlock/harness/race"
)

// Input is one race, as plain data: all that is sent.
type Input struct {
	Clients []ClientInput `json:"clients"`
}

// ClientInput is what one client asks.
type ClientInput struct {
	Name     string                     `json:"name"`
	Of       string                     `json:"of"`               // the client of the file that it is
	Copy     int                        `json:"copy"`             // which one of it, from 1
	Values   map[string]json.RawMessage `json:"values,omitempty"` // that were drawn, by generator; they are in the requests already
	Requests []RequestInput             `json:"requests"`
}

// copyName is what the n-th client that a client of the file stands for is called, from 1.
func copyName(name string, n int) string {
	if n == 1 {
		return name
	}
	return fmt.Sprintf("%s %d", name, n)
}

// unexpected is the invariant that a request is never told failed: it must hold of a file that says nothing about such answers.
const unexpected = "S3"

// failed is in the SQL of an invariant about clients that were told that.
var failed = regexp.MustCompile(`'failed'`)

// Workload returns the file as a workload. Invariants that it uses are looked up in a map, by name. S3, if there is one, is judged where the file has no
// invariant about answers that are failed, though not where a fault has happened; see [race.Invariant].
func (f *File) Workload(invariants map[string]race.Invariant) (race.Workload, error) {
	all, err := f.invariants(invariants)
	if err != nil {
		return race.Workload{}, err
	}
	name, variant, _ := strings.Cut(f.Name, "/")
	w := race.Define(name, f.inputs(), func(in Input) race.Scenario { return f.scenario(in, all) })
	w.Variant = variant
	w.Contending = func(clients int) any { return f.contending(clients) }
	w.Stream = func(shape race.Shape) race.Stream { return f.stream(shape, all) }
	return w, nil
}

// invariants returns the file's, those that it uses looked up. The error is [Errors] where one is not known.
func (f *File) invariants(known map[string]race.Invariant) ([]race.Invariant, error) {
	var all []race.Invariant
	r := f.reader.Later()
	for i, inv := range f.Invariants {
		if inv.Use == "" {
			all = append(all, race.Invariant{Name: inv.Name, Says: inv.Says, SQL: inv.SQL, Outcomes: inv.Outcomes})
			continue
		}
		found, ok := known[inv.Use]
		if !ok {
			try := "an invariant of its own, with name and sql"
			if len(known) > 0 {
				try = strict.Nearest(inv.Use, slices.Sorted(maps.Keys(known)))
			}
			r.WrongAt(fmt.Sprintf("invariants[%d].use", i), fmt.Sprintf("there is no invariant %q to be used", inv.Use), try)
		}
		all = append(all, found)
	}
	s3, ok := known[unexpected]
	s3.Undisturbed = true
	about := func(inv race.Invariant) bool {
		return inv.Name == s3.Name || inv.Outcomes && failed.MatchString(inv.SQL)
	}
	if ok && !slices.ContainsFunc(all, about) {
		all = append(all, s3)
	}
	return all, r.Err()
}

// inputs is the generator of inputs.
func (f *File) inputs() gopter.Gen {
	return func(params *gopter.GenParameters) *gopter.GenResult {
		return &gopter.GenResult{
			Result:     f.draw(params.Rng),
			ResultType: reflect.TypeFor[Input](),
			Shrinker:   func(value any) gopter.Shrink { return f.shrink(value.(Input)) },
		}
	}
}

// generatorNames are sorted.
func (f *File) generatorNames() []string { return slices.Sorted(maps.Keys(f.Generators)) }

// takenOver is how often a client has the value that the first client has, in percent, besides by chance. Without it, clients would seldom be
// about the same thing.
const takenOver = 50

// draw returns an input with all clients of the file.
func (f *File) draw(random *rand.Rand) Input {
	var in Input
	var first values
	for i := range f.Clients {
		for n := range f.Clients[i].Copies {
			drawn := f.drawValues(random, first)
			if first == nil {
				first = drawn
			}
			in.Clients = append(in.Clients, f.client(i, n+1, drawn))
		}
	}
	return in
}

// drawValues draws for one client; first are those of the first one, nil for itself.
func (f *File) drawValues(random *rand.Rand, first values) values {
	drawn := values{}
	for _, name := range f.generatorNames() {
		g := f.Generators[name]
		value, same := g.draw(random), random.Intn(100) < takenOver // drawn in any case, so that one client's values do not depend on another's
		if first != nil && (g.Shared || same) {
			value = first[name]
		}
		drawn[name] = value
	}
	return drawn
}

// drawTogether draws the shared ones of a client's values anew.
func (f *File) drawTogether(random *rand.Rand, drawn values) values {
	for _, name := range f.generatorNames() {
		if g := f.Generators[name]; g.Shared {
			drawn[name] = g.draw(random)
		}
	}
	return drawn
}

// contending returns an input with so many clients, all of them with the simplest values: the first of the file, and when they are used up more
// copies of them.
func (f *File) contending(clients int) Input {
	simplest := values{}
	for _, name := range f.generatorNames() {
		simplest[name] = f.Generators[name].first()
	}
	var in Input
	copies := make([]int, len(f.Clients))
	add := func(i int) {
		if len(in.Clients) < clients {
			copies[i]++
			in.Clients = append(in.Clients, f.client(i, copies[i], simplest))
		}
	}
	for i, c := range f.Clients {
		for range c.Copies {
			add(i)
		}
	}
	for i := 0; len(in.Clients) < clients; i++ {
		add(i % len(f.Clients))
	}
	return in
}

// client returns what a copy of the file's i-th client asks, with some values.
func (f *File) client(i, number int, drawn values) ClientInput {
	c := &f.Clients[i]
	in := ClientInput{Name: copyName(c.Name, number), Of: c.Name, Copy: number}
	used := append(c.names(), RequestInput{Headers: f.Headers}.open()...)
	for name, value := range drawn {
		if slices.Contains(used, name) {
			if in.Values == nil {
				in.Values = map[string]json.RawMessage{}
			}
			in.Values[name] = value
		}
	}
	requests := make([]int, len(c.Requests))
	for n := range requests {
		requests[n] = n
	}
	f.ask(c, &in, requests)
	return in
}

// names returns those in the templates of a client, and of its slots and subjects.
func (c *Client) names() []string {
	all := RequestInput{Headers: c.Headers}.open()
	for _, word := range c.Command {
		found, _ := names(word)
		all = append(all, found...)
	}
	for _, r := range c.Requests {
		slot, _ := names(r.Slot)
		subject, _ := names(r.Subject)
		all = slices.Concat(all, resolve(r.Call, nil, nil, nil).open(), slot, subject)
	}
	return all
}

// ask fills in some of a client's requests, by their numbers; the only one of a command has none.
func (f *File) ask(c *Client, in *ClientInput, requests []int) {
	v := in.all()
	in.Requests = nil
	if len(c.Command) > 0 {
		in.Requests = []RequestInput{RequestInput{Name: strings.Join(c.Command, " "), Command: c.Command}.filled(v)}
		return
	}
	for _, n := range requests {
		r := resolve(c.Requests[n].Call, f.Headers, c.Headers, v)
		r.Name, r.Number = c.Requests[n].Name, n
		in.Requests = append(in.Requests, r)
	}
}

// all returns what a client's templates stand for.
func (in ClientInput) all() values {
	all := values{"client": marshal(in.Name), "copy": marshal(in.Copy)}
	maps.Copy(all, in.Values)
	return all
}

// definition returns the client of the file that an input's is. The error says that the file is another one by now.
func (f *File) definition(in ClientInput) (*Client, error) {
	i := slices.IndexFunc(f.Clients, func(c Client) bool { return c.Name == in.Of })
	if i < 0 {
		return nil, fmt.Errorf("%s has no client %q any more; try making the run again", f.Path, in.Of)
	}
	c := &f.Clients[i]
	for _, r := range in.Requests {
		if r.Command == nil && (r.Number < 0 || r.Number >= len(c.Requests) || c.Requests[r.Number].Name != r.Name) {
			return nil, fmt.Errorf("%s: client %s has no request %d called %q any more; try making the run again", f.Path, in.Of, r.Number, r.Name)
		}
	}
	return c, nil
}

// scenario builds the race of an input.
func (f *File) scenario(in Input, invariants []race.Invariant) race.Scenario {
	s := race.Scenario{Start: f.start, Invariants: invariants, System: f.system}
	var errs []error
	for i, c := range in.Clients {
		def, err := f.definition(c)
		if err != nil {
			errs = append(errs, err)
			s.Clients = append(s.Clients, race.Client{Name: c.Name})
			continue
		}
		s.Clients = append(s.Clients, f.raceClient(i, c, def))
	}
	if len(errs) > 0 {
		s.Start = func(context.Context, *pgx.Conn) error { return errs[0] }
	}
	return s
}

// raceClient returns the n-th client of a race, from 0.
func (f *File) raceClient(n int, in ClientInput, def *Client) race.Client {
	a := &actor{file: f, client: def, mark: mark(n), memory: values{}, answers: map[string]string{}}
	c := race.Client{Name: in.Name, Mark: a.mark}
	if len(def.Command) == 0 && f.marker(a.mark, 0) == nil {
		c.Mark = ""
	}
	for number, r := range in.Requests {
		c.Operations = append(c.Operations, a.operation(number, r, in.all()))
	}
	return c
}

// start puts the starting rows in place.
func (f *File) start(ctx context.Context, conn *pgx.Conn) error {
	if f.Reset.SQL == "" {
		return nil
	}
	if _, err := conn.Exec(ctx, f.Reset.SQL, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("%s: the SQL of reset: %w; try it in psql, on a database as the migrations leave it", f.Path, err)
	}
	return nil
}

// slots is in the SQL of an invariant about who got a slot.
var slots = regexp.MustCompile(`(?i)\bslot\b`)

// stream is the file without an end: the n-th client of a load asks what the n-th of the file does, over and over, with values drawn anew each time. Each
// draws shared values from the same source, so that they are the same for all who are as far as it.
// A slot is free in one race, and not in the next, so what is about slots cannot be judged.
func (f *File) stream(shape race.Shape, invariants []race.Invariant) race.Stream {
	return race.Stream{
		Fill: f.start, System: f.system,
		Invariants: slices.DeleteFunc(slices.Clone(invariants), func(inv race.Invariant) bool { return inv.Outcomes && slots.MatchString(inv.SQL) }),
		Client: func(n int) func() race.Operation {
			random, together := rand.New(rand.NewSource(shape.Seed+int64(n))), rand.New(rand.NewSource(shape.Seed-1))
			one := f.contending(n + 1).Clients[n]
			of := slices.IndexFunc(f.Clients, func(c Client) bool { return c.Name == one.Of })
			var left []race.Operation
			return func() race.Operation {
				if len(left) == 0 {
					in := f.client(of, one.Copy, f.drawTogether(together, f.drawValues(random, nil)))
					left = f.raceClient(n, in, &f.Clients[of]).Operations
				}
				next := left[0]
				left = left[1:]
				return next
			}
		},
	}
}
