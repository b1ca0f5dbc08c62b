package target_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/interlock-pg/interlock/harness/target"
)

func TestSchemaIsPublished(t *testing.T) {
	t.Parallel()
	published, err := os.ReadFile("../../docs/target.schema.json")
	require.NoError(t, err)
	require.Equal(t, string(target.Schema()), string(published), "try: cp harness/target/target.schema.json docs/")
}

// node is what of a schema says which keys there are.
type node struct {
	Ref        string           `json:"$ref"`
	Properties map[string]*node `json:"properties"`
	Additional json.RawMessage  `json:"additionalProperties"`
	Items      *node            `json:"items"`
	Defs       map[string]*node `json:"$defs"`
}

// The schema and the Go types have the same keys, all the way down.
func TestSchemaHasTheKeysOfTheTypes(t *testing.T) {
	t.Parallel()
	var root node
	require.NoError(t, json.Unmarshal(target.Schema(), &root))
	compare(t, "", &root, &root, reflect.TypeFor[target.File]())
}

func compare(t *testing.T, path string, root, n *node, of reflect.Type) {
	t.Helper()
	if n.Ref != "" && root.Defs[strings.TrimPrefix(n.Ref, "#/$defs/")] != nil {
		n = root.Defs[strings.TrimPrefix(n.Ref, "#/$defs/")]
	}
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	switch {
	case of == reflect.TypeFor[target.JSONPath](), of == reflect.TypeFor[regexp.Regexp](), of == reflect.TypeFor[time.Time]():
	case of.Kind() == reflect.Struct:
		require.Equal(t, "false", string(n.Additional), path)
		fields := fieldsOf(of)
		require.Equal(t, slices.Sorted(maps.Keys(fields)), slices.Sorted(maps.Keys(n.Properties)), path)
		for key, field := range fields {
			compare(t, path+"."+key, root, n.Properties[key], field)
		}
	case of.Kind() == reflect.Slice:
		require.NotNil(t, n.Items, path)
		compare(t, path+"[]", root, n.Items, of.Elem())
	case of.Kind() == reflect.Map:
		var value node
		require.NoError(t, json.Unmarshal(n.Additional, &value), path)
		compare(t, path+".*", root, &value, of.Elem())
	}
}

// fieldsOf returns the types of a struct's fields by their keys.
func fieldsOf(of reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for i := range of.NumField() {
		field := of.Field(i)
		switch key := field.Tag.Get("yaml"); {
		case field.Anonymous:
			maps.Copy(fields, fieldsOf(field.Type))
		case key != "" && key != "-":
			fields[key] = field.Type
		}
	}
	return fields
}

// accepts returns what the schema says against a file.
func accepts(t *testing.T, text []byte) error {
	t.Helper()
	raw, err := jsonschema.UnmarshalJSON(bytes.NewReader(target.Schema()))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	require.NoError(t, compiler.AddResource("target.schema.json", raw))
	compiled, err := compiler.Compile("target.schema.json")
	require.NoError(t, err)
	asJSON, err := yaml.YAMLToJSON(text)
	require.NoError(t, err)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	require.NoError(t, err)
	return compiled.Validate(value)
}

func TestSchemaAcceptsWhatIsValid(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/valid/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		_, err = target.Parse(path, text)
		require.NoError(t, err, path)
		require.NoError(t, accepts(t, text), path)
	}
}

// An editor with the schema finds most mistakes. These it cannot know of.
func TestSchemaRefusesWhatIsNot(t *testing.T) {
	t.Parallel()
	beyond := []string{
		"name", "one-client", "one-name", "not-told", "program-templates", "url-of-running", "template", "template-of-other-client", "headers", "retries",
		"two-documents", "no-application", "marker", "json",
	}
	archive, err := txtar.ParseFile("testdata/errors.txtar")
	require.NoError(t, err)
	for _, file := range archive.Files {
		name := strings.TrimSuffix(file.Name, ".yaml")
		text, _, _ := strings.Cut(string(file.Data), "\n>>>\n")
		if _, err := yaml.YAMLToJSON([]byte(text)); err != nil || slices.Contains(beyond, name) {
			continue
		}
		require.Error(t, accepts(t, []byte(text)), name)
	}
}
