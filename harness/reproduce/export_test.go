package reproduce

import "github.com/interlock-pg/interlock/harness/history"

var (
	Braceless = braceless
	Drops     = drops
)

// Constant returns the literal of one parameter.
func Constant(value *string, kind string) string {
	a := &act{Step: history.Step{Parameters: []*string{value}, Types: []string{kind}}}
	return a.constant(0)
}
