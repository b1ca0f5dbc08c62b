package draft

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
)

// Values that are made up where a schema has no example. Times are in the future, where most applications want them.
const (
	firstUUID  = "00000000-0000-4000-8000-000000000001"
	secondUUID = "00000000-0000-4000-8000-000000000002"
	sampleTime = "2030-01-07T10:00:00Z"
)

// sampler makes values that fit schemas. It visits a bounded number of them, so that no schema, however it refers to itself, takes long or becomes
// more than somebody would read.
type sampler struct {
	left int
	open []*openapi3.Schema // those that are being gone through
}

func newSampler() *sampler { return &sampler{left: 2000} }

// deepest is how deep a value may be.
const deepest = 12

// media returns a value for a body.
func (s *sampler) media(media *openapi3.MediaType) any {
	if media.Example != nil {
		return s.clean(media.Example, 0)
	}
	for _, name := range slices.Sorted(maps.Keys(media.Examples)) {
		if ref := media.Examples[name]; ref != nil && ref.Value != nil && ref.Value.Value != nil {
			return s.clean(ref.Value.Value, 0)
		}
	}
	if media.Schema == nil {
		return map[string]any{}
	}
	value, _ := s.schema(media.Schema, "")
	return value
}

// schema returns a value for a schema; name is the property that it is of. False: none comes to an end.
func (s *sampler) schema(ref *openapi3.SchemaRef, name string) (any, bool) {
	if ref == nil || ref.Value == nil {
		return "example", true
	}
	schema := ref.Value
	s.left--
	if s.left < 0 || len(s.open) == deepest || slices.Contains(s.open, schema) {
		return nil, false
	}
	s.open = append(s.open, schema)
	defer func() { s.open = s.open[:len(s.open)-1] }()
	for _, given := range slices.Concat([]any{schema.Example}, schema.Examples, []any{schema.Const, schema.Default}, schema.Enum) {
		if given != nil {
			return s.clean(given, len(s.open)), true
		}
	}
	for _, choice := range slices.Concat(schema.OneOf, schema.AnyOf) {
		if choice != nil && choice.Value != nil && choice.Value.Type.Is("null") {
			continue
		}
		value, ok := s.schema(choice, name)
		if _, object := value.(map[string]any); ok && !object {
			return value, true
		} else if ok {
			return s.object(schema, value.(map[string]any))
		}
	}
	switch kind := kindOf(schema); kind {
	case "object":
		return s.object(schema, nil)
	case "array":
		return s.array(schema, name)
	case "integer", "number":
		return number(schema, kind), true
	case "boolean":
		return true, true
	case "null":
		return nil, true
	}
	if len(schema.AllOf) > 0 {
		return s.schema(schema.AllOf[0], name)
	}
	return textOf(schema, name), true
}

// kindOf returns the type of a schema's values, also where it says so only between the lines.
func kindOf(schema *openapi3.Schema) string {
	for _, kind := range schema.Type.Slice() {
		if kind != "null" || len(schema.Type.Slice()) == 1 {
			return kind
		}
	}
	if len(schema.Properties) > 0 || len(schema.Required) > 0 {
		return "object"
	}
	if schema.Items != nil {
		return "array"
	}
	for _, part := range schema.AllOf {
		if part != nil && part.Value != nil && part.Value != schema && (len(part.Value.Properties) > 0 || part.Value.Type.Is("object")) {
			return "object"
		}
	}
	return ""
}

// object makes an object of a schema's properties, and of those of its parts: what is required, or all where nothing is.
func (s *sampler) object(schema *openapi3.Schema, into map[string]any) (any, bool) {
	if into == nil {
		into = map[string]any{}
	}
	properties, required := map[string]*openapi3.SchemaRef{}, map[string]bool{}
	s.gather(schema, properties, required, 0)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		ref := properties[name]
		if _, there := into[plain(name)]; there || ref == nil || ref.Value == nil || ref.Value.ReadOnly {
			continue
		}
		if len(required) > 0 && !required[name] && ref.Value.Example == nil && len(ref.Value.Examples) == 0 {
			continue
		}
		if value, ok := s.schema(ref, name); ok {
			into[plain(name)] = value
		}
	}
	return into, true
}

// gather collects the properties of a schema and of its parts.
func (s *sampler) gather(schema *openapi3.Schema, properties map[string]*openapi3.SchemaRef, required map[string]bool, depth int) {
	if s.left--; s.left < 0 || depth > deepest {
		return
	}
	for name, ref := range schema.Properties {
		properties[name] = ref
	}
	for _, name := range schema.Required {
		required[name] = true
	}
	for _, part := range schema.AllOf {
		if part != nil && part.Value != nil {
			s.gather(part.Value, properties, required, depth+1)
		}
	}
}

func (s *sampler) array(schema *openapi3.Schema, name string) (any, bool) {
	list := []any{}
	for range min(max(schema.MinItems, 1), 20) {
		if value, ok := s.schema(schema.Items, name); ok && schema.Items != nil && (schema.MaxItems == nil || uint64(len(list)) < *schema.MaxItems) {
			list = append(list, value)
		}
	}
	return list, true
}

func number(schema *openapi3.Schema, kind string) any {
	value := 1.0
	if schema.Min != nil && *schema.Min > value {
		value = *schema.Min
	}
	if bound := schema.ExclusiveMin; bound.Value != nil && *bound.Value >= value {
		value = math.Floor(*bound.Value) + 1
	} else if bound.Bool != nil && *bound.Bool && schema.Min != nil && *schema.Min >= value {
		value = math.Floor(*schema.Min) + 1
	}
	if schema.Max != nil && *schema.Max < value {
		value = *schema.Max
	}
	if step := schema.MultipleOf; step != nil && *step > 0 {
		value = math.Ceil(value / *step) * *step
	}
	if kind == "integer" {
		value = math.Ceil(value)
	}
	return finite(value)
}

// finite returns a number as JSON can have it: whole ones without exponents.
func finite(value float64) any {
	switch {
	case math.IsNaN(value) || math.IsInf(value, 0):
		return 0
	case value == math.Trunc(value) && math.Abs(value) < 1<<53:
		return int64(value)
	}
	return value
}

// textOf makes a text.
func textOf(schema *openapi3.Schema, name string) any {
	value := "example"
	switch format := schema.Format; {
	case format == "uuid":
		return firstUUID
	case format == "date-time":
		return sampleTime
	case format == "date":
		return sampleTime[:10]
	case format == "time":
		return sampleTime[11:]
	case format == "duration":
		return "PT1H"
	case format == "email" || format == "idn-email" || format == "" && strings.Contains(strings.ToLower(name), "email"):
		return "somebody@example.com"
	case format == "uri" || format == "url":
		return "https://example.com/"
	case format == "hostname":
		return "example.com"
	case format == "ipv4":
		return "192.0.2.1"
	case format == "ipv6":
		return "2001:db8::1"
	case format == "byte":
		return "ZXhhbXBsZQ=="
	}
	if least := min(schema.MinLength, 1000); uint64(len(value)) < least {
		value = strings.Repeat(value, int(least)/len(value)+1)[:least]
	}
	if schema.MaxLength != nil && uint64(len(value)) > *schema.MaxLength {
		value = value[:*schema.MaxLength]
	}
	return value
}

// plain returns a text without what would begin a name in a target file.
func plain(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	for strings.Contains(text, "{{") {
		text = strings.ReplaceAll(text, "{{", "{ {")
	}
	return text
}

// clean makes an example plain data as JSON has it.
func (s *sampler) clean(value any, depth int) any {
	if s.left--; s.left < 0 || depth > 2*deepest {
		return nil
	}
	switch value := value.(type) {
	case nil, bool, int, int64, uint64:
		return value
	case float64:
		return finite(value)
	case string:
		if utf8.RuneCountInString(value) > 2000 {
			return plain(string([]rune(value)[:2000]))
		}
		return plain(value)
	case time.Time:
		return value.Format(time.RFC3339Nano)
	case []any:
		list := []any{}
		for _, element := range value {
			if s.left > 0 {
				list = append(list, s.clean(element, depth+1))
			}
		}
		return list
	case map[string]any:
		object := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(value)) {
			if s.left > 0 {
				object[plain(name)] = s.clean(value[name], depth+1)
			}
		}
		return object
	}
	return plain(fmt.Sprint(value))
}
