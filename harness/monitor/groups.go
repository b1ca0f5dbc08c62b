package monitor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// keptBytes is how much of facts is kept of one watch. Groups beyond that are kept without.
const keptBytes = 8 << 20

// tally is what breaks an invariant, as the rows of a look come in. It holds no more than twice as many groups as are kept: those that were kept before
// have a place, so that none of them goes missing because others come, and as many others as there might be room for.
type tally struct {
	before  map[string]Group
	most    int
	began   time.Time
	stayed  []Group
	came    []Group
	bytes   int
	total   int
	members int
}

func newTally(before []Group, most int, began time.Time) *tally {
	t := &tally{before: make(map[string]Group, len(before)), most: most, began: began}
	for _, g := range before {
		t.before[g.Key] = g
	}
	return t
}

// read takes in the rows of a query of a watch.
func (t *tally) read(ctx context.Context, tx pgx.Tx, query string, args ...any) error {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var g Group
		var first, last pgtype.Timestamptz
		if err := rows.Scan(&g.Key, &g.Members, &first, &last, nil); err != nil {
			return err
		}
		facts := rows.RawValues()[4] // in the connection's buffer: copied, if they are kept
		if rows.FieldDescriptions()[4].Format == pgx.BinaryFormatCode && len(facts) > 0 {
			facts = facts[1:] // jsonb has its version first
		}
		g.First, g.Last = instant(first), instant(last)
		t.add(g, facts)
	}
	return rows.Err()
}

func (t *tally) add(g Group, facts []byte) {
	t.total++
	t.members += g.Members
	old, stays := t.before[g.Key]
	if !stays && len(t.came) >= t.most {
		return
	}
	g.Since = t.began
	if stays {
		g.Since = old.Since
	}
	switch {
	case len(facts) == 0:
		g.Facts = nothing
	case t.bytes+len(facts) > keptBytes:
		g.Facts, g.Bare = nothing, true
	case stays && bytes.Equal(old.Facts, facts):
		g.Facts = old.Facts
		t.bytes += len(facts)
	default:
		g.Facts = bytes.Clone(facts)
		t.bytes += len(facts)
	}
	if stays {
		t.stayed = append(t.stayed, g)
	} else {
		t.came = append(t.came, g)
	}
}

var nothing = json.RawMessage(`{}`)

// groups returns those that are kept.
func (t *tally) groups() []Group {
	room := max(t.most-len(t.stayed), 0)
	return byKey(append(t.stayed, t.came[:min(room, len(t.came))]...))
}

// instant returns a time that RFC 3339 can tell; nil: it is none, or infinite, or of a year without four digits.
func instant(at pgtype.Timestamptz) *time.Time {
	if !at.Valid || at.InfinityModifier != pgtype.Finite {
		return nil
	}
	t := at.Time.UTC()
	if t.Year() < 0 || t.Year() > 9999 {
		return nil
	}
	return &t
}

func byKey(groups []Group) []Group {
	slices.SortFunc(groups, func(a, b Group) int { return cmp.Compare(a.Key, b.Key) })
	return groups
}

// same reports whether two lists are of the same groups.
func same(a, b []Group) bool {
	at := func(x, y *time.Time) bool { return x == y || x != nil && y != nil && x.Equal(*y) }
	return slices.EqualFunc(a, b, func(x, y Group) bool {
		return x.Key == y.Key && x.Members == y.Members && at(x.First, y.First) && at(x.Last, y.Last) && x.Since.Equal(y.Since) && x.Bare == y.Bare && bytes.Equal(x.Facts, y.Facts)
	})
}
