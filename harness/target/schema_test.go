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
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

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

// compiled is the schema, ready to be held against files.
var compiled = sync.OnceValues(func() (*jsonschema.Schema, error) {
	raw, err := jsonschema.UnmarshalJSON(bytes.NewReader(target.Schema()))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("target.schema.json", raw); err != nil {
		return nil, err
	}
	return compiler.Compile("target.schema.json")
})

// accepts returns what the schema says against a file.
func accepts(t *testing.T, text []byte) error {
	t.Helper()
	schema, err := compiled()
	require.NoError(t, err)
	asJSON, err := yaml.YAMLToJSON(text)
	require.NoError(t, err)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	require.NoError(t, err)
	return schema.Validate(value)
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

// mistakes are single ones, as what stands in testdata/valid/everything.yaml and what else might. An editor with the schema finds them.
var mistakes = [][2]string{
	{"name: inspection-api/production", "name: inspection-api/production/now"},
	{"name: inspection-api/production", "name: /production"},
	{"name: inspection-api/production", "label: inspection-api/production"},
	{"name: inspection-api/production", "name: [inspection-api]"},
	{"layout: goose", "layout: gose"},
	{"at: 2", "at: 0"},
	{"at: 2", "at: -1"},
	{"at: 2", "schema: schema.sql"},
	{"at: 2", "template: app"},
	{"migrations: ../../../../migrations/sql", "schema: schema.sql"},
	{"migrations: ../../../../migrations/sql", "template: app"},
	{"build: [go, build, -o, service, .]", "build: make"},
	{"  command: [./service]", "  command: []"},
	{"directory: ../service", "listen: 127.0.0.1:6432"},
	{"POOL: 5}", `"PO=OL": 5}`},
	{"POOL: 5}", "POOL: [5]}"},
	{`url: "http://127.0.0.1:{{port}}"`, "url: http://127.0.0.1:3000"},
	{`url: "http://127.0.0.1:{{port}}"`, `url: "127.0.0.1:{{port}}"`},
	{`url: "http://127.0.0.1:{{port}}"`, `url: "http://127.0.0.1:{{port}}/?a=b"`},
	{"path: /healthz", "path: healthz"},
	{"within: 30s}", "within: 0s}"},
	{"within: 30s}", "within: 30}"},
	{"within: 30s}", "within: soon}"},
	{"within: 30s}", "within: -1s}"},
	{"within: 30s}", "within: 5parsecs}"},
	{"within: 30s}", "within: 30s 5m}"},
	{"warm: false", "warm: no"},
	{"path: /test/reset", "path: /test reset"},
	{"path: /test/reset, ", ""},
	{`headers: {X-Api-Version: "1"}`, `headers: {X Api: "1"}`},
	{`headers: {X-Api-Version: "1"}`, `headers: {X-Api-Version: "1\n2"}`},
	{`headers: {X-Api-Version: "1"}`, "headers: X-Api-Version"},
	{"created: [201]", "created: 201"},
	{"created: [201]", "created: [601]"},
	{"created: [201]", "created: [2XX]"},
	{"created: [201]", "crated: [201]"},
	{"  device: {choice: [AED-1, AED-2], shared: true}", "  device: {choice: [], shared: true}"},
	{"  device: {choice: [AED-1, AED-2], shared: true}", "  device: {choice: [[AED-1]], shared: true}"},
	{"  device: {choice: [AED-1, AED-2], shared: true}", "  device: {choice: [AED-1], range: [0, 1]}"},
	{"  minutes: {range: [0, 60]}", "  minutes: {range: [0]}"},
	{"  minutes: {range: [0, 60]}", "  minutes: {range: [0, 60.5]}"},
	{"  minutes: {range: [0, 60]}", "  minutes: {}"},
	{"  at: {time: {from: 2026-01-05T10:00:00Z, within: 31m, near: 30m}}", "  at: {time: {within: 31m, near: 30m}}"},
	{"  at: {time: {from: 2026-01-05T10:00:00Z, within: 31m, near: 30m}}", "  at: {time: {from: 2026-01-05, within: 31m, near: 30m}}"},
	{"  at: {time: {from: 2026-01-05T10:00:00Z, within: 31m, near: 30m}}", "  at: {time: {from: 2026-01-05T10:00:00Z, within: 31m, near: 30}}"},
	{"generators:\n", "generators:\n  copy: {choice: [1]}\n"},
	{"generators:\n", "generators:\n  a-b: {choice: [1]}\n"},
	{"copies: 2", "copies: 0"},
	{"copies: 2", "copies: -1"},
	{"copies: 2", "copies: 1001"},
	{"copies: 2", "copies: two"},
	{"requests: [{path: /sessions}]", "requests: []"},
	{"requests: [{path: /sessions}]", "requests: [{}]"},
	{"requests: [{path: /sessions}]", `requests: [{path: "{{copy}}/sessions"}]`},
	{"requests: [{path: /sessions}]", "requests: [{path: '/sessions#1'}]"},
	{"requests: [{path: /sessions}]", "requests: [{path: /sessions, method: get}]"},
	{"requests: [{path: /sessions}]", "requests: [{path: /sessions, row: id}]"},
	{"requests: [{path: /sessions}]", "requests: [{path: /sessions, capture: {client: $.id}}]"},
	{"requests: [{path: /sessions}]", "requests: [{path: /sessions, capture: {a b: $.id}}]"},
	{"requests: [{path: /sessions}]", "requests: [{path: /sessions, retries: {times: 2}}]"},
	{"requests: [{path: /sessions}]", "requests: [{path: /sessions, retries: {on: [lost]}}]"},
	{"requests: [{path: /sessions}]", "requests: [{path: /sessions, retries: {times: 2, on: []}}]"},
	{"requests: [{path: /sessions}]", "requests: [{path: /sessions, retries: {times: 0, on: [lost]}}]"},
	{"requests: [{path: /sessions}]", "requests: [{path: /sessions, retries: {times: 101, on: [lost]}}]"},
	{"requests: [{path: /sessions}]", "requests: [{path: /sessions, retries: {times: 2, on: [timeout]}}]"},
	{"requests: [{path: /sessions}]", "requests: [{path: /sessions}]\n    command: [job]"},
	{`command: [python3, job.py, "{{device}}"]`, "copies: 3"},
	{`command: [python3, job.py, "{{device}}"]`, `command: [job]` + "\n    headers: {a: b}"},
	{"  - use: S2", "  - use: S2\n    outcomes: false"},
	{"  - use: S2", "  - says: nothing"},
	{"  - use: S2", "  - sql: select 1"},
	{"  - use: S2", "  - name: S3"},
	{"marker: {header: X-Request-Id}", "marker: {header: X Request}"},
	{"marker: {header: X-Request-Id}", "marker: X-Request-Id"},
	{"do: freeze", "do: frezee"},
	{"{application_name: '^cron', do: freeze}", "{application_name: '^cron'}"},
	{"{application_name: '^cron', do: freeze}", "{do: freeze}"},
	{"settle: 50ms", "settle: 0s"},
	{"settle: 50ms", "settle: 0"},
	{"settle: 50ms", "settle: 50"},
	{"delay: 1.5s", "delay: 0s"},
	{"delay: 1.5s", "delay: 2 s"},
}

// further are mistakes in what everything.yaml does not have, after a file that would be right.
var further = [][2]string{
	{"", "application: {url: http://127.0.0.1:3000}\n"},
	{"", "application: {listen: 127.0.0.1:6432}\n"},
	{"", "application: {url: http://127.0.0.1:3000, listen: 127.0.0.1:6432, build: [make]}\n"},
	{"", "application: {url: http://127.0.0.1:3000, listen: 127.0.0.1:6432, environment: {}}\n"},
	{"", "application: {url: http://127.0.0.1:3000, listen: 0.0.0.0:6432}\n"},
	{"", "application: {url: http://127.0.0.1:3000, listen: ':6432'}\n"},
	{"", "application: {url: http://127.0.0.1:3000, listen: database:6432}\n"},
	{"", "application: {url: http://127.0.0.1:3000, listen: '6432'}\n"},
	{"schema: schema.sql", ""},
	{"schema: schema.sql", "template: ''"},
	{"schema: schema.sql", "template: app, at: 1"},
	{"database: {schema: schema.sql}", ""},
	{"clients: [{command: [./job], copies: 3}]", ""},
	{"clients: [{command: [./job], copies: 3}]", "clients: []"},
	{"clients: [{command: [./job], copies: 3}]", "clients: {}"},
}

func TestSchemaRefusesWhatIsNot(t *testing.T) {
	t.Parallel()
	for name, all := range map[string][][2]string{"everything": mistakes, "commands": further} {
		text, err := os.ReadFile("testdata/valid/" + name + ".yaml")
		require.NoError(t, err)
		for _, mistake := range all {
			require.Contains(t, string(text), mistake[0])
			wrong := strings.Replace(string(text), mistake[0], mistake[1], 1)
			_, err := target.Parse("testdata/valid/"+name+".yaml", []byte(wrong))
			var found target.Errors
			require.ErrorAs(t, err, &found, mistake)
			require.Len(t, found, 1, "%s: %v", mistake, err)
			require.Error(t, accepts(t, []byte(wrong)), mistake)
		}
	}
}
