package sched

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Modes is a set of table lock modes, as pg_locks shows them.
type Modes uint8

// The lock modes of a relation, from the weakest to the strongest.
const (
	AccessShare          Modes = 1 << iota // SELECT
	RowShare                               // SELECT … FOR UPDATE or FOR SHARE, the far side of a foreign key
	RowExclusive                           // INSERT, UPDATE, DELETE
	ShareUpdateExclusive                   // VACUUM, some ALTER TABLE
	Share                                  // CREATE INDEX
	ShareRowExclusive                      // CREATE TRIGGER
	Exclusive                              // REFRESH MATERIALIZED VIEW CONCURRENTLY
	AccessExclusive                        // TRUNCATE, DROP, most ALTER TABLE
)

// What a mode says about its statement, if it is more than reading: it locks rows, or writes rows (or stops others from doing so).
const (
	locks  = RowShare
	writes = RowExclusive | ShareUpdateExclusive | Share | ShareRowExclusive | Exclusive | AccessExclusive
	works  = locks | writes // leaves something that others can run into
)

var modeNames = []string{
	"AccessShare", "RowShare", "RowExclusive", "ShareUpdateExclusive", "Share", "ShareRowExclusive", "Exclusive", "AccessExclusive",
}

// against has, for each mode, the modes that it conflicts with.
var against = [...]Modes{
	AccessExclusive,
	Exclusive | AccessExclusive,
	Share | ShareRowExclusive | Exclusive | AccessExclusive,
	ShareUpdateExclusive | Share | ShareRowExclusive | Exclusive | AccessExclusive,
	RowExclusive | ShareUpdateExclusive | ShareRowExclusive | Exclusive | AccessExclusive,
	RowExclusive | ShareUpdateExclusive | Share | ShareRowExclusive | Exclusive | AccessExclusive,
	RowShare | RowExclusive | ShareUpdateExclusive | Share | ShareRowExclusive | Exclusive | AccessExclusive,
	AccessShare | RowShare | RowExclusive | ShareUpdateExclusive | Share | ShareRowExclusive | Exclusive | AccessExclusive,
}

// conflicting has, for each set of modes, all modes that conflict with one of them.
var conflicting = func() (table [256]Modes) {
	for set := range table {
		for i, m := range against {
			if set&(1<<i) != 0 {
				table[set] |= m
			}
		}
	}
	return table
}()

// Conflict reports whether two transactions cannot hold m and o on one relation at the same time.
func (m Modes) Conflict(o Modes) bool { return conflicting[m]&o != 0 }

// ParseMode returns the mode that pg_locks calls name, as "RowExclusiveLock"; the "Lock" may be missing.
func ParseMode(name string) (Modes, error) {
	i := slices.Index(modeNames, strings.TrimSuffix(name, "Lock"))
	if i < 0 {
		return 0, fmt.Errorf("lock mode %q is not one that a table can be locked in; this Postgres may be newer than Interlock", name)
	}
	return 1 << i, nil
}

// String returns the names of the modes, joined by plus signs.
func (m Modes) String() string {
	var names []string
	for i, name := range modeNames {
		if m&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "+")
}

// MarshalText writes the modes by name.
func (m Modes) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (m *Modes) UnmarshalText(text []byte) error {
	*m = 0
	if len(text) == 0 {
		return nil
	}
	for name := range strings.SplitSeq(string(text), "+") {
		mode, err := ParseMode(name)
		if err != nil {
			return err
		}
		*m |= mode
	}
	return nil
}

// AnyKey is the advisory key of a statement whose keys are not known: it has every key in common with everyone.
const AnyKey = "*"

// Footprint is what a statement touched, as far as the server's lock table tells. The zero value touched nothing.
type Footprint struct {
	Relations map[string]Modes `json:"relations,omitempty"`
	Keys      []string         `json:"keys,omitempty"` // advisory locks, in any spelling that is the same for the same key
}

// Join returns what either touched.
func (f Footprint) Join(o Footprint) Footprint {
	joined := Footprint{Relations: maps.Clone(f.Relations), Keys: slices.Clone(f.Keys)}
	for name, modes := range o.Relations {
		if joined.Relations == nil {
			joined.Relations = map[string]Modes{}
		}
		joined.Relations[name] |= modes
	}
	joined.Keys = append(joined.Keys, o.Keys...)
	slices.Sort(joined.Keys)
	joined.Keys = slices.Compact(joined.Keys)
	return joined
}

// Catalog is what the schema adds to what locks tell.
type Catalog struct {
	ForeignKeys []ForeignKey `json:"foreign_keys,omitempty"`

	// DeferredUnique names the relations with a deferrable unique or exclusion constraint: it is checked when a transaction commits.
	DeferredUnique []string `json:"deferred_unique,omitempty"`

	// DeferredTriggers do what they do when a transaction commits.
	DeferredTriggers []DeferredTrigger `json:"deferred_triggers,omitempty"`
}

// ForeignKey says that rows of Child refer to rows of Parent, by the names that footprints use.
type ForeignKey struct {
	Child    string `json:"child"`
	Parent   string `json:"parent"`
	Deferred bool   `json:"deferred,omitempty"` // deferrable: it may be checked when a transaction commits
}

// DeferredTrigger says what a transaction that wrote a relation may touch when it commits.
type DeferredTrigger struct {
	Relation string    `json:"relation"`
	Touched  Footprint `json:"touched"`
}

// Below, relations and advisory keys are small numbers and footprints are sorted, since every pair of steps of every run is compared.

// touch is what was done to one relation. Plain leaves out what blind inserts did: it is what notices the work of others.
type touch struct {
	relation     int32
	modes, plain Modes
}

// prints is a footprint with its names resolved.
type prints struct {
	touches []touch // by relation
	keys    []int32 // ascending; anyKey comes first
}

// anyKey is the number of AnyKey.
const anyKey = 0

// join adds what o touched and reports whether that was news.
func (p *prints) join(o prints) bool {
	grown := false
	for _, t := range o.touches {
		i, found := slices.BinarySearchFunc(p.touches, t, func(a, b touch) int { return int(a.relation - b.relation) })
		if !found {
			p.touches = slices.Insert(p.touches, i, t)
			grown = true
			continue
		}
		was := p.touches[i]
		p.touches[i].modes |= t.modes
		p.touches[i].plain |= t.plain
		grown = grown || p.touches[i] != was
	}
	for _, k := range o.keys {
		if i, found := slices.BinarySearch(p.keys, k); !found {
			p.keys = slices.Insert(p.keys, i, k)
			grown = true
		}
	}
	return grown
}

// any reports whether test holds for a relation that both touched.
func (p prints) any(o prints, test func(a, b touch) bool) bool {
	for i, j := 0, 0; i < len(p.touches) && j < len(o.touches); {
		a, b := p.touches[i], o.touches[j]
		switch {
		case a.relation < b.relation:
			i++
		case a.relation > b.relation:
			j++
		default:
			if test(a, b) {
				return true
			}
			i++
			j++
		}
	}
	return false
}

// commonKey reports whether both hold an advisory key in common.
func (p prints) commonKey(o prints) bool {
	if len(p.keys) == 0 || len(o.keys) == 0 {
		return false
	}
	if p.keys[0] == anyKey || o.keys[0] == anyKey {
		return true
	}
	return slices.ContainsFunc(p.keys, func(k int32) bool { _, found := slices.BinarySearch(o.keys, k); return found })
}
