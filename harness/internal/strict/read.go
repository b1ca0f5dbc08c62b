package strict

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Reader puts YAML into Go types. go-yaml parses; its own decoder is not used, since it stops at the first mistake and forgets where a
// value stood, which the checks that follow need to know.
type Reader struct {
	path    string
	lines   []string
	errs    Errors
	anchors map[string]ast.Node
	places  map[string]*token.Position // of each value, by its path, as "clients[0].name"
	keys    map[string]*token.Position // of the key of each value that has one
	wrong   map[string]bool            // values that are already known to be wrong
	partly  map[string]bool            // mappings that may lack what seems to be missing only because it could not be read
	hidden  bool                       // errors do not show the text
	left    int                        // nodes that may still be visited: aliases can make a small file endless
}

// mostNodes is more than any file has that somebody wrote.
const mostNodes = 20_000

func New(path string, text []byte) *Reader {
	plain := strings.ToValidUTF8(string(text), "\uFFFD")
	return &Reader{
		path: path, lines: strings.Split(strings.ReplaceAll(plain, "\r\n", "\n"), "\n"),
		anchors: map[string]ast.Node{}, places: map[string]*token.Position{}, keys: map[string]*token.Position{},
		wrong: map[string]bool{}, partly: map[string]bool{}, left: mostNodes,
	}
}

// Document reads the file's only document into what a pointer points to. Where there is nothing in it, the example is what to try. False: it is no YAML.
func (r *Reader) Document(into any, example string) bool {
	file, err := r.parse()
	var at yaml.Error
	switch {
	case errors.As(err, &at) && at.GetToken() != nil && at.GetToken().Position != nil:
		position := at.GetToken().Position
		r.fail(position.Line, position.Column, at.GetMessage(), "writing it as YAML has it; a text with : # { } [ ] in it goes into quotes")
	case err != nil:
		r.fail(1, 1, err.Error(), "writing it as YAML has it")
	case len(file.Docs) > 0 && file.Docs[0].Body != nil:
		for _, node := range ast.Filter(ast.AnchorType, file.Docs[0].Body) {
			if anchor := node.(*ast.AnchorNode); anchor.Name != nil {
				r.anchors[anchor.Name.GetToken().Value] = anchor.Value
			}
		}
		if len(file.Docs) > 1 && file.Docs[1].Body != nil {
			r.failAt(position(file.Docs[1].Body), "a second document", "a file of its own for it")
		}
		r.read(file.Docs[0].Body, "", reflect.ValueOf(into).Elem())
		return true
	default:
		r.fail(1, 1, "there is nothing in it", example)
	}
	return false
}

// parse calls go-yaml, which panics on some texts that are no YAML.
func (r *Reader) parse() (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("this is no YAML: %v", p)
		}
	}()
	return parser.ParseBytes([]byte(strings.Join(r.lines, "\n")), 0, parser.AllowDuplicateMapKey())
}

// position returns where a node begins.
func position(node ast.Node) *token.Position {
	switch n := node.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return position(n.Values[0])
		}
	case *ast.MappingValueNode:
		return position(n.Key)
	}
	if node == nil || node.GetToken() == nil || node.GetToken().Position == nil {
		return &token.Position{Line: 1, Column: 1}
	}
	return node.GetToken().Position
}

// Conceal keeps what stands in the file out of errors, but for single words that are none of those known.
func (r *Reader) Conceal() { r.hidden = true }

// Later returns a reader of the same file without what is wrong with it, for what is found out when the file has been read.
func (r *Reader) Later() *Reader {
	later := *r
	later.errs = nil
	return &later
}

// Has reports whether there is a value at a path, as "clients[0].name".
func (r *Reader) Has(path string) bool { return r.places[path] != nil }

// Wrong reports whether the value at a path is known to be wrong.
func (r *Reader) Wrong(path string) bool { return r.wrong[path] }

func (r *Reader) failAt(at *token.Position, what, try string) { r.fail(at.Line, at.Column, what, try) }

// WrongAt adds an error at a value, or where it should be: at what it would be in. It adds none where that is known to be wrong, for a mistake that
// follows from another helps nobody.
func (r *Reader) WrongAt(path, what, try string) {
	for within := path; ; within = within[:max(strings.LastIndexAny(within, ".["), 0)] {
		if r.wrong[within] || r.partly[within] && r.places[path] == nil || within == path && r.partly[path] {
			return
		}
		if at := r.places[within]; at != nil {
			r.failAt(at, what, try)
			return
		}
		if within == "" {
			r.fail(1, 1, what, try)
			return
		}
	}
}

// WrongKey adds an error at the key of a value.
func (r *Reader) WrongKey(path, what, try string) {
	if at := r.keys[path]; at != nil {
		r.failAt(at, what, try)
	}
}

// plain returns a node without anchors and aliases. False: there is none, which has been said.
func (r *Reader) plain(node ast.Node) (ast.Node, bool) {
	for at := position(node); ; {
		if r.left--; r.left < 0 {
			if r.left == -1 {
				r.failAt(position(node), "there is too much in it, or an alias stands for something that it is in itself", "a shorter file")
			}
			return nil, false
		}
		switch n := node.(type) {
		case *ast.AnchorNode:
			node = n.Value
		case *ast.AliasNode:
			name := n.Value.GetToken().Value
			found, ok := r.anchors[name]
			if !ok {
				r.failAt(position(n), fmt.Sprintf("there is no anchor %q", name), "putting &"+name+" before what it stands for")
				return nil, false
			}
			node = found
		case *ast.TagNode:
			r.failAt(position(n), "a tag has no meaning here", "the value without "+n.GetToken().Value)
			return nil, false
		case nil: // as after an anchor at the end of a line
			r.failAt(at, "there is nothing here", "a value")
			return nil, false
		default:
			return n, true
		}
	}
}

// entry is one key of a mapping with its value.
type entry struct {
	key   string
	at    *token.Position
	value ast.Node
}

// entries returns those of a mapping, with what is merged into it by <<.
func (r *Reader) entries(node ast.MapNode) []entry {
	var own []entry
	var merged []ast.Node
	named := map[string]bool{}
	for i := node.MapRange(); i.Next(); {
		at := position(i.Key())
		if i.Key().IsMergeKey() {
			merged = append(merged, i.Value())
			continue
		}
		key, ok := r.text(i.Key())
		switch {
		case !ok:
			r.failAt(at, "a key is a text", "a plain word")
		case named[key]:
			r.failAt(at, fmt.Sprintf("there are two %q here", key), "one of them")
		default:
			named[key] = true
			own = append(own, entry{key, at, i.Value()})
		}
	}
	for len(merged) > 0 {
		value := merged[0]
		merged = merged[1:]
		from, ok := r.plain(value)
		if !ok {
			continue
		}
		switch from := from.(type) {
		case *ast.SequenceNode:
			merged = append(slices.Clone(from.Values), merged...)
		case ast.MapNode:
			for _, e := range r.entries(from) {
				if !named[e.key] {
					named[e.key] = true
					own = append(own, e)
				}
			}
		default:
			r.failAt(position(value), "only a mapping can be merged", "an alias of one")
		}
	}
	return own
}

// text returns what a scalar says, as it was written. False: it is none.
func (r *Reader) text(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.MappingKeyNode:
		return r.text(n.Value)
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return node.GetToken().Value, true
	}
	return "", false
}

var (
	unmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	duration    = reflect.TypeFor[time.Duration]()
	pattern     = reflect.TypeFor[regexp.Regexp]()
	moment      = reflect.TypeFor[time.Time]()
)

// read puts a node into a value; path is where it is.
func (r *Reader) read(node ast.Node, path string, into reflect.Value) {
	node, ok := r.plain(node)
	if !ok {
		r.wrong[path] = true
		return
	}
	r.places[path] = position(node)
	if _, null := node.(*ast.NullNode); null {
		if into.Kind() != reflect.Interface {
			r.mistake(path, "there is nothing here", "a value, or leaving the key out")
		}
		return
	}
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		r.read(node, path, into.Elem())
		return
	}
	text, isText := r.text(node)
	switch {
	case into.Type() == duration:
		r.duration(text, path, into)
	case reflect.PointerTo(into.Type()).Implements(unmarshaler):
		r.special(text, isText, path, into)
	case into.Kind() == reflect.Struct:
		r.structure(node, path, into)
	case into.Kind() == reflect.Map:
		r.mapping(node, path, into)
	case into.Kind() == reflect.Slice:
		r.list(node, path, into)
	case into.Kind() == reflect.Interface:
		if value := r.json(node, path); value != nil {
			into.Set(reflect.ValueOf(value))
		}
	case !isText:
		r.mistake(path, "a plain value belongs here", "one without - , [ ] and { }")
	case into.Kind() == reflect.String:
		into.SetString(text)
	case into.Kind() == reflect.Bool:
		value, isBool := node.(*ast.BoolNode)
		if !isBool {
			r.mistake(path, fmt.Sprintf("%q is neither true nor false", text), "true or false")
			return
		}
		into.SetBool(value.Value)
	default:
		number, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil || into.OverflowInt(number):
			r.mistake(path, fmt.Sprintf("%q is no whole number", text), "digits, as 3")
			return
		case !wholeForm.MatchString(text):
			r.mistake(path, text+doubt, strconv.FormatInt(number, 10))
			return
		}
		into.SetInt(number)
	}
}

// mistake adds an error at a value, of which nothing else is to be said then.
func (r *Reader) mistake(path, what, try string) {
	r.WrongAt(path, what, try)
	r.wrong[path] = true
}

func (r *Reader) duration(text, path string, into reflect.Value) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		r.mistake(path, fmt.Sprintf("%q is no time span", text), "a number and its unit, as 100ms, 30s, 5m or 1h30m")
		return
	}
	into.SetInt(int64(d))
}

// special reads what has a form of its own.
func (r *Reader) special(text string, isText bool, path string, into reflect.Value) {
	if !isText {
		r.mistake(path, "a plain value belongs here", "one without - , [ ] and { }")
		return
	}
	err := into.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	var known Problem
	switch {
	case err == nil:
	case errors.As(err, &known):
		r.mistake(path, known.What, known.Try)
	case into.Type() == pattern:
		what := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		r.mistake(path, what, "a regular expression as Go has them, in single quotes, as '(?i)^select 1'")
	case into.Type() == moment:
		r.mistake(path, fmt.Sprintf("%q is no point in time", text), "date, time and zone, as 2026-01-05T10:00:00Z")
	default:
		r.mistake(path, err.Error(), "another value")
	}
}

// structure reads a mapping whose keys are known.
func (r *Reader) structure(node ast.Node, path string, into reflect.Value) {
	mapping, ok := node.(ast.MapNode)
	if !ok {
		r.mistake(path, "a mapping belongs here", "some of "+AnyOf(keys(into.Type())))
		return
	}
	fields := fieldsOf(into)
	for _, e := range r.entries(mapping) {
		field, ok := fields[e.key]
		if !ok {
			r.failAt(e.at, fmt.Sprintf("there is no key %q here", e.key), Nearest(e.key, keys(into.Type())))
			r.partly[path] = true
			continue
		}
		at := Join(path, e.key)
		r.places[at], r.keys[at] = e.at, e.at
		r.read(e.value, at, field)
		r.partly[path] = r.partly[path] || r.wrong[at]
	}
}

func Join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// fieldsOf returns the fields of a struct by their keys.
func fieldsOf(value reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for i := range value.NumField() {
		field := value.Type().Field(i)
		key := field.Tag.Get("yaml")
		switch {
		case field.Anonymous:
			maps.Copy(fields, fieldsOf(value.Field(i)))
		case field.IsExported() && key != "-":
			fields[key] = value.Field(i)
		}
	}
	return fields
}

// keys returns the keys of a struct, sorted.
func keys(of reflect.Type) []string {
	return slices.Sorted(maps.Keys(fieldsOf(reflect.New(of).Elem())))
}

// mapping reads a mapping whose keys are names.
func (r *Reader) mapping(node ast.Node, path string, into reflect.Value) {
	mapping, ok := node.(ast.MapNode)
	if !ok {
		r.mistake(path, "a mapping belongs here", "name: value, or {name: value}")
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	for _, e := range r.entries(mapping) {
		at := Join(path, e.key)
		r.places[at], r.keys[at] = e.at, e.at
		value := reflect.New(into.Type().Elem()).Elem()
		r.read(e.value, at, value)
		into.SetMapIndex(reflect.ValueOf(e.key), value)
	}
}

func (r *Reader) list(node ast.Node, path string, into reflect.Value) {
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		r.mistake(path, "a list belongs here", "[one, two], or a line with - for each")
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(sequence.Values), len(sequence.Values)))
	for i, value := range sequence.Values {
		r.read(value, fmt.Sprintf("%s[%d]", path, i), into.Index(i))
	}
}

var (
	// wholeForm is how a whole number is written.
	wholeForm = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	// numberForm is how JSON writes a number.
	numberForm = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
	// doubtful is what one version of YAML or another takes for a number: an octal one, for one, where somebody wrote a postal code.
	doubtful = regexp.MustCompile(`^[-+]?(0[xob][0-9A-Fa-f_]+|[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?|\.[0-9][0-9_]*([eE][-+]?[0-9]+)?)$`)
)

const doubt = " is one number to some readers of YAML, and another or a text to others"

// json returns a value as encoding/json would, with numbers as they were written.
func (r *Reader) json(node ast.Node, path string) any {
	node, ok := r.plain(node)
	if !ok {
		return nil
	}
	r.places[path] = position(node)
	switch n := node.(type) {
	case *ast.NullNode:
		return nil
	case *ast.BoolNode:
		return n.Value
	case *ast.SequenceNode:
		list := []any{}
		for i, value := range n.Values {
			list = append(list, r.json(value, fmt.Sprintf("%s[%d]", path, i)))
		}
		return list
	case ast.MapNode:
		object := map[string]any{}
		for _, e := range r.entries(n) {
			object[e.key] = r.json(e.value, Join(path, e.key))
		}
		return object
	}
	text, ok := r.text(node)
	switch {
	case !ok || node.Type() == ast.InfinityType || node.Type() == ast.NanType:
		r.mistake(path, "JSON has no such value", "a text in quotes, or a number")
		return nil
	case quoted(node):
		return text
	case numberForm.MatchString(text):
		return json.Number(text)
	case doubtful.MatchString(text):
		r.mistake(path, text+doubt, `"`+text+`" in quotes, or a number as JSON has it`)
		return nil
	}
	return text
}

// quoted reports whether a scalar is a text whatever is in it.
func quoted(node ast.Node) bool {
	of := node.GetToken().Type
	return node.Type() == ast.LiteralType || of == token.SingleQuoteType || of == token.DoubleQuoteType
}
