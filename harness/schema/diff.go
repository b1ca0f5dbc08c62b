package schema

import (
	"cmp"
	"slices"
	"strings"
)

// Change is one difference between two schemas.
type Change struct {
	Kind  Kind   `json:"kind"`
	Name  string `json:"name"`            // as Object.Name
	Table string `json:"table,omitempty"` // as Object.Table
	What  What   `json:"what"`
	// Before and After say the object, or, of a changed one, the properties that differ, in words: "type: integer; not null".
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// What is what happened to an object. A renamed one was removed, and another added.
type What string

// What can happen.
const (
	Added   What = "added"
	Removed What = "removed"
	Changed What = "changed"
)

// String says a change in one line.
func (c Change) String() string {
	said := string(c.Kind) + " " + c.Name
	if c.Table != "" && !strings.HasPrefix(c.Name, c.Table+".") {
		said += " on " + c.Table
	}
	said += " " + string(c.What)
	switch c.What {
	case Changed:
		return said + ": " + cmp.Or(c.Before, "nothing") + " → " + cmp.Or(c.After, "nothing")
	default:
		if is := cmp.Or(c.Before, c.After); is != "" {
			said += ": " + is
		}
		return said
	}
}

// Diff returns what differs, in the order of the objects; nothing when the schemas are equal. The order of a table's columns counts, among those
// that both have, as a change of the table.
func Diff(before, after Schema) []Change {
	var changes []Change
	add := func(o Object, what What, before, after string) {
		changes = append(changes, Change{Kind: o.Kind, Name: o.Name, Table: o.Table, What: what, Before: before, After: after})
	}
	for _, o := range before.Objects {
		if _, still := after.Find(o.Kind, o.Name); !still {
			add(o, Removed, o.String(), "")
		}
	}
	for _, now := range after.Objects {
		was, known := before.Find(now.Kind, now.Name)
		if !known {
			add(now, Added, "", now.String())
			continue
		}
		if was.Table != now.Table { // an index of another table by the same name
			was.Properties = append([]Property{{"table", was.Table}}, was.Properties...)
			now.Properties = append([]Property{{"table", now.Table}}, now.Properties...)
		}
		if old, new := without(was, now), without(now, was); old+new != "" {
			add(now, Changed, old, new)
		}
	}
	for _, t := range moved(before, after) {
		add(Object{Kind: Table, Name: t.name}, Changed, "columns: "+strings.Join(t.before, ", "), "columns: "+strings.Join(t.after, ", "))
	}
	slices.SortStableFunc(changes, func(a, b Change) int {
		return cmp.Or(Object{Kind: a.Kind, Name: a.Name}.compare(Object{Kind: b.Kind, Name: b.Name}))
	})
	return changes
}

// without says the properties of o that other does not have too.
func without(o, other Object) string {
	var own Object
	for _, p := range o.Properties {
		if !slices.Contains(other.Properties, p) {
			own.Properties = append(own.Properties, p)
		}
	}
	return own.String()
}

type order struct {
	name          string
	before, after []string
}

// moved returns the tables whose columns, of those that both schemas have, come in another order.
func moved(before, after Schema) []order {
	was, is := columns(before, after), columns(after, before)
	var tables []order
	for _, o := range after.Objects {
		if o.Kind == Table && !slices.Equal(was[o.Name], is[o.Name]) {
			tables = append(tables, order{o.Name, was[o.Name], is[o.Name]})
		}
	}
	return tables
}

// columns returns the columns of every table in their order, as far as other has them too.
func columns(s, other Schema) map[string][]string {
	var all []Object
	for _, o := range s.Objects {
		if _, both := other.Find(o.Kind, o.Name); both && o.Kind == Column {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b Object) int { return cmp.Compare(a.Position, b.Position) })
	byTable := map[string][]string{}
	for _, o := range all {
		byTable[o.Table] = append(byTable[o.Table], strings.TrimPrefix(o.Name, o.Table+"."))
	}
	return byTable
}
