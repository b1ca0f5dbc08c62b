package plant

import (
	"fmt"
	"strings"
)

// Kind is a kind of constraint.
type Kind string

// The kinds. Indexes count as constraints, where they are unique.
const (
	Unique     Kind = "unique"    // primary keys too
	Exclusion  Kind = "exclusion" // WITHOUT OVERLAPS too
	NotNull    Kind = "not null"
	Check      Kind = "check"
	ForeignKey Kind = "foreign key"
)

// Constraint is something that a migration adds and that rows can break. All names and expressions are SQL: quoted where they must be, and with
// their schema, but for columns, which are those of the table.
type Constraint struct {
	Kind       Kind   `json:"kind"`
	Name       string `json:"name"` // of the index with its schema; of a NOT NULL the column; else of the constraint, without the table
	Table      string `json:"table"`
	Definition string `json:"definition"` // in the words of the catalog

	// Validated is false of NOT VALID: existing rows are not looked at.
	Validated bool `json:"validated"`

	// Keys are what collides, or must not be NULL, or refers to something; of a CHECK they are the columns that it reads.
	Keys []Key `json:"keys"`
	// Where is the condition of a partial index; empty: it is about all rows. Of a CHECK it is the CHECK.
	Where            string `json:"where,omitempty"`
	NullsNotDistinct bool   `json:"nulls_not_distinct,omitempty"`

	Parent    string   `json:"parent,omitempty"`     // the table that is referred to
	ParentKey []string `json:"parent_key,omitempty"` // its columns
	MatchFull bool     `json:"match_full,omitempty"`

	Reads []string `json:"reads"` // the columns that decide, those of Where too
	ID    []string `json:"id"`    // what tells the rows apart in the state before: the columns of the primary key, or ctid

	only       bool // not the rows of tables that inherit from the table
	parentOnly bool
	period     bool
	standing   *Constraint // the same one in the state before, where it is NOT VALID: it keeps new rows out already
}

// Key is a column, or an expression.
type Key struct {
	SQL      string `json:"sql"`
	Name     string `json:"name"`               // of the column, or how an index calls the expression
	Operator string `json:"operator,omitempty"` // of an exclusion, and of a foreign key, whose left side is the parent
}

// String says what it is, as "unique public.users_email".
func (c Constraint) String() string {
	switch c.Kind {
	case Unique, Exclusion:
		return fmt.Sprintf("%s %s", c.Kind, c.Name)
	default:
		return fmt.Sprintf("%s %s of %s", c.Kind, c.Name, c.Table)
	}
}

// Says says in words which rows break it, as "rows of public.users that have the same lower(email)".
func (c Constraint) Says() string {
	keys := make([]string, len(c.Keys))
	for i, k := range c.Keys {
		keys[i] = k.SQL
		if c.Kind == Exclusion {
			keys[i] += " WITH " + k.Operator
		}
	}
	list, where := strings.Join(keys, ", "), ""
	if c.Where != "" {
		where = ", where " + c.Where
	}
	switch c.Kind {
	case Unique:
		return fmt.Sprintf("rows of %s that have the same %s%s", c.Table, list, where)
	case Exclusion:
		return fmt.Sprintf("rows of %s that exclude each other by %s%s", c.Table, list, where)
	case NotNull:
		return fmt.Sprintf("rows of %s that have NULL in %s", c.Table, list)
	case Check:
		return fmt.Sprintf("rows of %s that break CHECK %s", c.Table, bracketed(c.Where))
	default:
		return fmt.Sprintf("rows of %s whose %s is not in %s (%s)", c.Table, list, c.Parent, strings.Join(c.ParentKey, ", "))
	}
}

// rule is what it asks of rows, whatever it is called and whether rows were looked at.
func (c Constraint) rule() string {
	keys := make([]string, len(c.Keys))
	for i, k := range c.Keys {
		keys[i] = k.SQL + "\x00" + k.Operator
	}
	return strings.Join([]string{
		string(c.Kind), c.Table, strings.Join(keys, "\x01"), c.Where, c.Parent, strings.Join(c.ParentKey, "\x01"),
		fmt.Sprint(c.NullsNotDistinct, c.MatchFull, c.period),
	}, "\x02")
}
