package scenarios

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"
)

// A generator of inputs is written as a plain function that draws its parts from gopter's generators one after another: later parts depend on
// earlier ones, which chains of FlatMap say less clearly. All randomness comes from gopter's Rng.

// generator makes a gopter generator of such a function and of a function that returns simpler values.
func generator[I any](make func(dice) I, simpler func(I) gopter.Shrink) gopter.Gen {
	return func(params *gopter.GenParameters) *gopter.GenResult {
		return &gopter.GenResult{
			Result:     make(dice{params}),
			ResultType: reflect.TypeFor[I](),
			Shrinker:   func(value any) gopter.Shrink { return simpler(value.(I)) },
		}
	}
}

// dice draws from gopter's generators.
type dice struct{ params *gopter.GenParameters }

func draw[T any](d dice, g gopter.Gen) T {
	value, ok := g(d.params).Retrieve()
	if !ok {
		panic("scenarios: only generators that always come up are drawn from")
	}
	return value.(T)
}

// between draws from low to high, both included.
func (d dice) between(low, high int) int { return draw[int](d, gen.IntRange(low, high)) }

// percent is true that often.
func (d dice) percent(chance int) bool { return d.between(1, 100) <= chance }

// oneOf draws one of some values, each as likely as the next.
func oneOf[T any](d dice, values ...T) T { return values[d.between(0, len(values)-1)] }

// How often things are generated, in percent.
const (
	contention   = 60 // inputs whose clients begin by creating for the same free slot
	rival        = 75 // clients of such an input that do, after the first two
	pure         = 50 // such inputs in which nothing else happens
	beginning    = 60 // clients whose first operation is a creation, besides those by chance
	oneDevice    = 60 // inputs with one device; the others have two
	plainSerial  = 60
	plainZone    = 50
	plainBase    = 50
	noDevice     = 4 // operations about no device, or one that does not exist
	specialTime  = 8
	twoTabs      = 15 // session clients that share an inspector with an earlier one
	reopening    = 15 // session inputs about closing a stale session that its inspector then comes back to
	falseRefusal = 30 // schedule contentions that production refuses for no good reason
)

// clientsAndLengths draws how many operations each client has.
func (d dice) clientsAndLengths(most int) []int {
	lengths := make([]int, d.between(2, most))
	for i := range lengths {
		lengths[i] = d.between(1, 3)
	}
	return lengths
}

var timeZones = []string{"Asia/Seoul", "America/New_York", "Asia/Kathmandu"}

func (d dice) timeZone() string {
	if d.percent(plainZone) {
		return "UTC"
	}
	return oneOf(d, timeZones...)
}

// devices draws one or two serials, never the same.
func (d dice) devices() []string {
	serials := []string{d.serial(0)}
	if d.percent(100 - oneDevice) {
		second := d.serial(1)
		if second == serials[0] {
			second = plainSerialOf(1)
		}
		serials = append(serials, second)
	}
	return serials
}

func plainSerialOf(device int) string { return fmt.Sprintf("AED-%d", device+1) }

// oddSerials are serials that a careless comparison, encoding or length check gets wrong. Some look alike and are not the same.
var oddSerials = []string{
	"AED-1 ",                       // a space at its end counts
	"aed-1",                        // so does case
	"심장충격기-0017",                   // Korean
	"\u1109\u1175\u11b7-0017",      // Korean in single letters
	"caf\u00e9-1",                  // é as one character
	"cafe\u0301-1",                 // é as two
	"❤️‍🩹🫀-1",                      // emoji with joiners and variation selectors
	`O'Brien's "AED" \'; --`,       // quotes
	"%_$1{}",                       // patterns and parameters
	"١٢٣-مزيل",                     // right to left
	"a\tb\nc",                      // control characters
	strings.Repeat("가", 255),       // as long as the column takes, in 765 bytes
	strings.Repeat("🫀", 254) + "1", // the same in 1,017 bytes
}

func (d dice) serial(device int) string {
	if d.percent(plainSerial) {
		return plainSerialOf(device)
	}
	return oneOf(d, oddSerials...)
}
