package draft

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// rows are what the parameters in a path stand for.
type rows struct {
	names  map[string]string // of values, by the parameter's name
	before [2][]Request      // what each client asks for first
}

// rows finds where the ids in a path come from. A number is made by the reset, where somebody can be asked to create the row: in a database that is
// as new as that, it is 1. Any other id is what the client's own request before it was answered; or somebody has to fill it in.
func (r reading) rows(path string, item *openapi3.PathItem, op *openapi3.Operation, p *Proposal) rows {
	found := rows{names: map[string]string{}}
	all := parameters(item, op)
	for _, at := range parameterForm.FindAllStringSubmatchIndex(path, -1) {
		name := path[at[2]:at[3]]
		if found.names[name] != "" {
			continue
		}
		var value any = "1"
		if i := slices.IndexFunc(all, func(one *openapi3.Parameter) bool { return one.In == "path" && one.Name == name }); i >= 0 {
			value, _ = parameterValues(all[i])
		}
		collection := strings.TrimSuffix(path[:at[0]], "/")
		base := valueName(collection, name)
		maker := r.doc.Paths.Value(collection)
		if maker == nil || maker.Post == nil || collection == "" {
			p.add(Generator{"the id of a row that is there: reset puts it in", base, []any{value}})
			found.names[name] = base
			continue
		}
		makesA, makesB, why := r.request("POST", collection, maker, maker.Post)
		makesA.Path, makesB.Path = found.fill(makesA.Path), found.fill(makesB.Path)
		switch {
		case why != "" || strings.Contains(strings.NewReplacer("{{", "", "}}", "").Replace(makesA.Path), "{"):
			p.add(Generator{"the id of a row that is there: reset puts it in", base, []any{value}})
			found.names[name] = base
		case isWhole(value) && p.Reset == nil && !strings.Contains(makesA.Path, "{{"):
			p.Reset = &makesA
			p.add(Generator{"the id of the row that the request in reset makes, where ids count from 1", base, []any{1}})
			found.names[name] = base
		default:
			captured := "made_" + base
			row := cmp.Or(rowOf(maker.Post), "$.id")
			makesA.Capture, makesB.Capture = []Variable{{captured, row}}, []Variable{{captured, row}}
			makesA.Comment = "Each client makes a row of its own and changes that. For both to change the same one, put one in with reset, " +
				"and its id into the path."
			found.before[0], found.before[1] = append(found.before[0], makesA), append(found.before[1], makesB)
			found.names[name] = captured
		}
	}
	return found
}

// add adds a generator, unless there is one of that name.
func (p *Proposal) add(g Generator) {
	if !slices.ContainsFunc(p.Generators, func(other Generator) bool { return other.Name == g.Name }) {
		p.Generators = append(p.Generators, g)
	}
}

// fill puts the names into a path.
func (r rows) fill(path string) string {
	return parameterForm.ReplaceAllStringFunc(path, func(match string) string {
		if name := r.names[match[1:len(match)-1]]; name != "" {
			return "{{" + name + "}}"
		}
		return match
	})
}

// valueName names a parameter after what it is the id of.
func valueName(collection, parameter string) string {
	name := notWord.ReplaceAllLiteralString(parameter, "_")
	segment := notWord.ReplaceAllLiteralString(collection[strings.LastIndexByte(collection, '/')+1:], "_")
	if len(name) < 5 && segment != "" && !strings.Contains(segment, "__") {
		name = strings.Trim(segment, "_") + "_" + name
	}
	if !nameForm.MatchString(name) || strings.HasPrefix(name, "made_") || name == "client" || name == "copy" {
		name = "the_" + name
	}
	return name
}

var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func isWhole(value any) bool {
	switch value := value.(type) {
	case int, int64, uint64:
		return true
	case float64:
		return value == float64(int64(value))
	}
	return false
}
