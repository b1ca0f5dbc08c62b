package main

import (
	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/scenarios"
)

// selectWorkloads returns the workloads that the names select, each either a scenario ("sessions"), or one with a defence
// ("sessions/advisory"); all of them where there are no names.
func selectWorkloads(names []string, clients int) ([]harness.Workload, error) {
	all := scenarios.Workloads(scenarios.Options{Clients: clients})
	if len(names) == 0 {
		return all, nil
	}
	known := map[string]bool{}
	var order []string
	for _, w := range all {
		for _, name := range []string{w.Name, w.FullName()} {
			if !known[name] {
				order = append(order, name)
			}
			known[name] = true
		}
	}
	wanted := map[string]bool{}
	for _, name := range names {
		if !known[name] {
			return nil, usage("unknown scenario %q%s; try: interlock list", name, didYouMean(name, order))
		}
		wanted[name] = true
	}
	var selected []harness.Workload
	for _, w := range all {
		if wanted[w.Name] || wanted[w.FullName()] {
			selected = append(selected, w)
		}
	}
	return selected, nil
}
