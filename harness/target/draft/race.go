package draft

import (
	"cmp"
	"slices"
	"strconv"
)

// Pair makes a race of what two clients ask for at once, which may be the same.
func Pair(a, b Proposal) Race {
	race := Race{Clients: []Client{{"A", a.Clients[0]}, {"B", b.Clients[1]}}, Reset: cmp.Or(a.Reset, b.Reset)}
	both := Proposal{}
	for _, g := range slices.Concat(a.Generators, b.Generators) {
		both.add(g)
	}
	race.Generators = both.Generators
	race.Outcomes = outcomes(a.Codes, b.Codes)
	return race
}

// outcomes says what the statuses mean that are documented. 200 beside 201 says that it was there already.
func outcomes(all ...[]int) []Outcome {
	resumes := false
	for _, codes := range all {
		if slices.Contains(codes, 200) {
			resumes = slices.Contains(codes, 201)
			if !resumes {
				break
			}
		}
	}
	known := slices.Concat(all...)
	statuses := map[string][]string{"created": {"201"}, "conflict": {"409"}, "not_found": {"404"}, "failed": {"5xx"}}
	add := func(outcome string, code int) {
		if slices.Contains(known, code) {
			statuses[outcome] = append(statuses[outcome], strconv.Itoa(code))
		}
	}
	if resumes {
		add("resumed", 200)
	} else {
		add("done", 200)
	}
	add("done", 202)
	add("done", 204)
	add("conflict", 412)
	add("conflict", 422)
	add("conflict", 423)
	add("not_found", 410)
	var list []Outcome
	for _, name := range []string{"created", "resumed", "done", "conflict", "not_found", "failed"} {
		if len(statuses[name]) > 0 {
			list = append(list, Outcome{name, statuses[name]})
		}
	}
	return list
}
