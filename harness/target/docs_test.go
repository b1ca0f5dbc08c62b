package target_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/target"
)

// The document for users has an example that is valid, and every key.
func TestDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/TARGET.md")
	require.NoError(t, err)
	example := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(text)
	require.NotNil(t, example)
	_, err = target.Parse("docs/TARGET.md", example[1])
	require.NoError(t, err)
	require.NoError(t, accepts(t, example[1]))

	var schema any
	require.NoError(t, json.Unmarshal(target.Schema(), &schema))
	for _, key := range keysOf(schema) {
		require.Regexp(t, "[`.{ ]"+key+"[`:]", string(text), key)
	}
}

// keysOf returns the keys of all mappings that a schema is about.
func keysOf(schema any) (keys []string) {
	switch schema := schema.(type) {
	case map[string]any:
		if properties, ok := schema["properties"].(map[string]any); ok {
			keys = slices.Sorted(maps.Keys(properties))
		}
		for _, part := range schema {
			keys = append(keys, keysOf(part)...)
		}
	case []any:
		for _, part := range schema {
			keys = append(keys, keysOf(part)...)
		}
	}
	return keys
}
