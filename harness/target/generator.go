package target

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"slices"
	"strconv"
	"time"

	"github.com/interlock-pg/interlock/harness/internal/strict"
)

// Generator draws the values that a name stands for: exactly one of Choice, Range and Time.
type Generator struct {
	Choice []any      `yaml:"choice"` // each as likely as the next
	Range  []int      `yaml:"range"`  // whole numbers from the first to the second, both included
	Time   *TimeRange `yaml:"time"`
	Shared bool       `yaml:"shared"` // one value for all clients; else each client has its own, and often that of the first
}

// TimeRange is points in time, written as RFC 3339 has them, in the zone of From.
type TimeRange struct {
	From   time.Time     `yaml:"from"`
	Within time.Duration `yaml:"within"` // how far from From, in both directions
	Near   time.Duration `yaml:"near"`   // half of the values are about so far from From. 0: none
}

// first returns the simplest value.
func (g Generator) first() json.RawMessage {
	switch {
	case len(g.Choice) > 0:
		return marshal(g.Choice[0])
	case g.Time != nil:
		return g.Time.at(0)
	default:
		return marshal(g.Range[0])
	}
}

// draw returns any value.
func (g Generator) draw(random *rand.Rand) json.RawMessage {
	switch {
	case len(g.Choice) > 0:
		return marshal(g.Choice[random.Intn(len(g.Choice))])
	case g.Time != nil:
		return g.Time.at(g.Time.draw(random))
	default:
		return marshal(g.Range[0] + random.Intn(g.Range[1]-g.Range[0]+1))
	}
}

// simpler returns values that are simpler than one, the simplest first. Each is further down in an order that ends.
func (g Generator) simpler(than json.RawMessage) []json.RawMessage {
	var simpler []json.RawMessage
	switch {
	case len(g.Choice) > 0:
		place := slices.IndexFunc(g.Choice, func(value any) bool { return string(marshal(value)) == string(than) })
		for _, i := range []int{0, place / 2} {
			if i < place {
				simpler = append(simpler, marshal(g.Choice[i]))
			}
		}
	case g.Time != nil:
		offset, ok := g.Time.offset(than)
		for _, d := range []time.Duration{0, offset.Truncate(time.Minute), offset.Truncate(time.Second)} {
			if ok && d.Abs() < offset.Abs() {
				simpler = append(simpler, g.Time.at(d))
			}
		}
	default:
		number, err := strconv.Atoi(string(than))
		low := g.Range[0]
		for _, n := range []int{low, low + (number-low)/2, low + (number-low)/4*3} {
			if err == nil && n < number {
				simpler = append(simpler, marshal(n))
			}
		}
	}
	return slices.CompactFunc(simpler, func(a, b json.RawMessage) bool { return string(a) == string(b) })
}

// at returns the time so far from From.
func (t TimeRange) at(offset time.Duration) json.RawMessage {
	return marshal(t.From.Add(offset).Format(time.RFC3339Nano))
}

// offset is what at was called with.
func (t TimeRange) offset(value json.RawMessage) (time.Duration, bool) {
	var at time.Time
	if err := json.Unmarshal(value, &at); err != nil {
		return 0, false
	}
	return at.Sub(t.From), true
}

// draw returns an offset. An application may keep no more than milliseconds of a time, so none is closer to a boundary without being on it.
func (t TimeRange) draw(random *rand.Rand) time.Duration {
	if t.Near > 0 && random.Intn(2) == 0 {
		about := []time.Duration{0, -time.Millisecond, time.Millisecond, -time.Second, time.Second, -time.Minute, time.Minute}
		offset := t.Near + about[random.Intn(len(about))]
		if random.Intn(2) == 0 {
			offset = -offset
		}
		if offset.Abs() <= t.Within {
			return offset
		}
	}
	unit := time.Second
	switch {
	case t.Within >= time.Minute && random.Intn(2) == 0:
		unit = time.Minute
	case t.Within < time.Second:
		unit = time.Millisecond
	}
	most := int64(t.Within / unit)
	return time.Duration(random.Int63n(2*most+1)-most) * unit
}

// check says what is wrong with a generator.
func (g Generator) check(r *strict.Reader, path string) {
	kinds := 0
	for _, given := range []bool{g.Choice != nil, g.Range != nil, g.Time != nil} {
		if given {
			kinds++
		}
	}
	if kinds != 1 {
		r.WrongAt(path, "a generator is exactly one of choice, range and time",
			"{choice: [one, two]}, {range: [0, 60]} or {time: {from: 2026-01-05T10:00:00Z, within: 30m}}")
		return
	}
	if g.Choice != nil && len(g.Choice) == 0 {
		r.WrongAt(path+".choice", "there is nothing to choose from", "[one, two]")
	}
	for i, value := range g.Choice {
		at := fmt.Sprintf("%s.choice[%d]", path, i)
		switch value := value.(type) {
		case map[string]any, []any:
			r.WrongAt(at, "a choice is a text, a number, true, false or null", "a generator for each of its parts")
		case string:
			if _, ok := names(value); !ok || len(placeholder.FindString(value)) > 0 {
				r.WrongAt(at, "a value is no template", "{{name}} where the value is used")
			}
		}
	}
	if g.Range != nil && len(g.Range) != 2 {
		r.WrongAt(path+".range", "a range is two whole numbers", "[0, 60]")
	} else if g.Range != nil && (g.Range[0] > g.Range[1] || g.Range[1]-g.Range[0] < 0 || g.Range[1]-g.Range[0]+1 <= 0) {
		r.WrongAt(path+".range", "there is nothing in this range", "the lower number first")
	}
	if t := g.Time; t != nil {
		if t.From.IsZero() {
			r.WrongAt(path+".time", "a time is from some point on", "from: 2026-01-05T10:00:00Z")
		}
		if t.Near > t.Within {
			r.WrongAt(path+".time.near", "near is further than within", "within: "+(t.Near+time.Minute).String())
		}
	}
}
