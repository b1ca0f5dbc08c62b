package draft_test

import (
	"fmt"
	"strings"

	"github.com/interlock-pg/interlock/harness/target/draft"
)

func Example() {
	d, err := draft.Look("../../../scenarios/inspection-api/node")
	if err != nil {
		fmt.Println(err)
		return
	}
	api, err := draft.ReadAPI("../../../scenarios/inspection-api/openapi.yaml")
	if err != nil {
		fmt.Println(err)
		return
	}
	best := api.Proposals[0]
	fmt.Println(best.Title(), best.Why)
	d.Race = draft.Pair(best, best)
	text, err := d.YAML("interlock.yaml")
	if err != nil {
		fmt.Println(err)
		return
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "command") || strings.Contains(line, "outcomes: {") {
			fmt.Print(line)
		}
	}
	// Output:
	// POST /api/inspections/sessions creates, unless something is in its way (409)
	//   command: [node, dist/server.js]
	// outcomes: {created: [201], resumed: [200], conflict: [409, 422], not_found: [404], failed: [5xx]}
}
