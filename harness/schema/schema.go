package schema

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Schema is what there is in the user's own schemas. What belongs to an extension is left out, the extension itself is there.
type Schema struct {
	Objects []Object `json:"objects"` // by kind, in the order of the constants, then by name
}

// Kind is a kind of object.
type Kind string

// The kinds, in the order in which objects and changes are listed.
const (
	Namespace         Kind = "schema"
	Extension         Kind = "extension"
	Type              Kind = "type" // enum, domain, composite or range
	Sequence          Kind = "sequence"
	Table             Kind = "table"
	Column            Kind = "column" // of a table
	Constraint        Kind = "constraint"
	Index             Kind = "index"
	View              Kind = "view"
	MaterialisedView  Kind = "materialised view"
	Function          Kind = "function" // procedures and aggregates too
	Trigger           Kind = "trigger"
	EventTrigger      Kind = "event trigger"
	Rule              Kind = "rule"
	Policy            Kind = "policy"
	Statistics        Kind = "statistics"
	Publication       Kind = "publication"
	DefaultPrivileges Kind = "default privileges"
)

// Object is one object of the catalog.
type Object struct {
	Kind Kind `json:"kind"`
	// Name is unique within the kind: quoted where it must be, with its schema, and after the name of its table for columns, constraints,
	// triggers, rules and policies; functions with their arguments.
	Name string `json:"name"`
	// Table is the table, view or domain that it belongs to. Empty: it stands for itself.
	Table string `json:"table,omitempty"`
	// Properties are what it is, without those that are as usual. All but Position and FileNode make two objects equal.
	Properties []Property `json:"properties,omitempty"`
	// Position is a column's place in its table, from 1; dropped columns leave gaps. Only the order counts.
	Position int `json:"position,omitempty"`
	// FileNode is the file that holds a table, a materialised view or an index: another number means that it was rewritten or emptied by TRUNCATE.
	FileNode uint32 `json:"file_node,omitempty"`
}

// Property is one thing that the catalog says of an object, in the words of the catalog; "true" for what is so.
type Property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Get returns a property; empty if the object is as usual there.
func (o Object) Get(property string) string {
	for _, p := range o.Properties {
		if p.Name == property {
			return p.Value
		}
	}
	return ""
}

// String says all the properties.
func (o Object) String() string {
	said := make([]string, len(o.Properties))
	for i, p := range o.Properties {
		said[i] = p.String()
	}
	return strings.Join(said, "; ")
}

// String says a property, as "not null" or "type: integer".
func (p Property) String() string {
	if p.Value == "true" {
		return p.Name
	}
	return p.Name + ": " + p.Value
}

// Find returns an object.
func (s Schema) Find(kind Kind, name string) (Object, bool) {
	i, found := slices.BinarySearchFunc(s.Objects, Object{Kind: kind, Name: name}, Object.compare)
	if !found {
		return Object{}, false
	}
	return s.Objects[i], true
}

// Without returns the schema without a table and all that hangs on it, the sequences of its columns too.
func (s Schema) Without(table string) Schema {
	s.Objects = slices.DeleteFunc(slices.Clone(s.Objects), func(o Object) bool {
		return o.Name == table || o.Table == table || strings.HasPrefix(o.Get("owned by"), table+".")
	})
	return s
}

func (o Object) compare(other Object) int {
	return cmp.Or(cmp.Compare(rank[o.Kind], rank[other.Kind]), cmp.Compare(o.Name, other.Name))
}

var rank = func() map[Kind]int {
	ranks := map[Kind]int{}
	for i, q := range catalog {
		ranks[q.kind] = i
	}
	return ranks
}()

// Read takes a snapshot, in a read only transaction of its own: the connection must not be in one.
func Read(ctx context.Context, conn *pgx.Conn) (Schema, error) {
	var s Schema
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		// Definitions then name every schema, whatever the path is, and dates and intervals in them read the same everywhere.
		if _, err := tx.Exec(ctx, `set local search_path = pg_catalog; set local datestyle = 'ISO'; set local intervalstyle = 'postgres';
			set local timezone = 'UTC'; set local quote_all_identifiers = off`, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		for _, q := range catalog {
			found, err := q.read(ctx, tx)
			if err != nil {
				return fmt.Errorf("%s: %w", q.kind, err)
			}
			s.Objects = append(s.Objects, found...)
		}
		return nil
	})
	if err != nil {
		return Schema{}, fmt.Errorf("reading the schema of %s: %w", conn.Config().Database, err)
	}
	slices.SortFunc(s.Objects, Object.compare)
	return s, nil
}

// read runs a query. Its first columns are the object's name, its table, its position and its file node; the others are properties, named as
// the columns are.
func (q query) read(ctx context.Context, tx pgx.Tx) ([]Object, error) {
	rows, err := tx.Query(ctx, q.sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Object, error) {
		o := Object{Kind: q.kind}
		fields := row.FieldDescriptions()
		values := make([]*string, len(fields)-4)
		into := []any{&o.Name, &o.Table, &o.Position, &o.FileNode}
		for i := range values {
			into = append(into, &values[i])
		}
		if err := row.Scan(into...); err != nil {
			return o, err
		}
		for i, v := range values {
			if v != nil {
				o.Properties = append(o.Properties, Property{Name: fields[i+4].Name, Value: *v})
			}
		}
		return o, nil
	})
}
