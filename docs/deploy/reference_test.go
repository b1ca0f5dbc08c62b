package deploy_test

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/monitor/settings"
)

// Each YAML block of the reference is a file that serve takes.
func TestTheReferenceOfTheFile(t *testing.T) {
	t.Parallel()
	text := read(t, "../SERVE.md")
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(text, -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		_, err := settings.Parse("serve.yaml", []byte(block[1]))
		require.NoError(t, err, block[1])
	}

	// The first is the full one: it has every key that there is, and so have the tables.
	var full map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(blocks[0][1]), &full))
	known, shown, listed := map[string]bool{}, map[string]bool{}, map[string]bool{}
	secret := regexp.MustCompile(`\.?(file|environment)$`)
	var walk func(path string, in any)
	walk = func(path string, in any) {
		switch in := in.(type) {
		case map[string]any:
			for key, value := range in {
				walk(strings.TrimPrefix(path+"."+key, "."), value)
			}
		case []any:
			for _, one := range in {
				walk(path+"[]", one)
			}
		default:
			if !strings.HasPrefix(path, "notify.outbox") {
				path = secret.ReplaceAllString(path, "")
			}
			shown[path] = true
		}
	}
	walk("", full)
	keysOf("", reflect.TypeFor[settings.Settings](), known)
	of, _, _ := strings.Cut(text, "## Flags and environment")
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_.\\[\\]]+)` \\|").FindAllStringSubmatch(of, -1) {
		listed[row[1]] = true
	}
	require.Equal(t, known, shown, "the example")
	require.Equal(t, known, listed, "the tables")
}

// keysOf returns the keys that a file may have, lists as name[]. A secret is one.
func keysOf(path string, of reflect.Type, into map[string]bool) {
	switch {
	case of.Kind() == reflect.Pointer:
		keysOf(path, of.Elem(), into)
	case of.Kind() == reflect.Slice:
		keysOf(path+"[]", of.Elem(), into)
	case of == reflect.TypeFor[settings.Secret]() || of.Kind() != reflect.Struct || of == reflect.TypeFor[settings.Zone]():
		into[path] = true
	default:
		for i := range of.NumField() {
			field := of.Field(i)
			name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			if field.IsExported() && options != "inline" {
				keysOf(strings.TrimPrefix(path+"."+name, "."), field.Type, into)
			} else if field.IsExported() {
				keysOf(path, field.Type, into)
			}
		}
	}
}

// The reference lists the metrics of testdata/metrics.txt, but those of the process, and no other.
func TestTheReferenceOfTheMetrics(t *testing.T) {
	t.Parallel()
	known := slices.DeleteFunc(strings.Fields(read(t, "testdata/metrics.txt")), func(name string) bool { return strings.HasPrefix(name, "process_") })
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(interlock_[a-z_]+)`").FindAllStringSubmatch(read(t, "../SERVE.md"), -1) {
		listed = append(listed, row[1])
	}
	require.ElementsMatch(t, known, listed)
}
