package target

import (
	_ "embed"
	"slices"
)

//go:embed target.schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of target files, for editors: docs/target.schema.json. [Parse] knows more: what templates mean, and
// what goes together.
func Schema() []byte { return slices.Clone(schema) }
