package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/schema"
	"github.com/interlock-pg/interlock/harness/server"
)

// index is an index that the migration adds.
type index struct {
	oid                     uint32
	name, bare, table       string
	definition              string
	valid, primary, enforce bool
	keys                    []string // columns and expressions
}

// after looks at what the new schema is good for: every new index valid, used by the queries that it is for, and no copy of another; how its size and
// the time to build it grow; and the domain's invariants, explored again.
func (j *judge) after(ctx context.Context) (history.Trial, error) {
	done := history.Trial{State: history.TrialPassed}
	var says []string
	note := func(format string, args ...any) { done.Details = append(done.Details, fmt.Sprintf(format, args...)) }
	err := j.on(ctx, j.filled, func(db *server.Database, conn *pgx.Conn) error {
		if err := j.apply(ctx, db.Config("migrations")); err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, `analyze`); err != nil {
			return err
		}
		all, err := indexes(ctx, conn)
		if err != nil {
			return err
		}
		var added []index
		for _, x := range all {
			if _, before := j.was.Find(schema.Index, x.name); !before {
				added = append(added, x)
			}
		}
		if err := j.indexes(ctx, conn, all, added, note); err != nil {
			return err
		}
		if len(added) > 0 {
			says = append(says, count(len(added), "index")+" added")
		}
		return j.grow(ctx, conn, added, note)
	})
	if err != nil {
		return done, err
	}
	proof, err := j.conclusion(j.proof(), note)
	if err != nil {
		return done, err
	}
	if proof != "" {
		says = append(says, proof)
	}
	done.Says = strings.Join(says, "; ")
	if done.Says == "" {
		done.Says = "it adds no index, and no scenarios are known for this schema"
	}
	return done, nil
}

// indexes lists all indexes.
func indexes(ctx context.Context, conn *pgx.Conn) ([]index, error) {
	rows, err := conn.Query(ctx, `
		select i.indexrelid, format('%I.%I', n.nspname, c.relname), c.relname::text, format('%I.%I', tn.nspname, t.relname),
			pg_get_indexdef(i.indexrelid), i.indisvalid and i.indisready, i.indisprimary, i.indisunique or i.indisexclusion,
			array(select pg_get_indexdef(i.indexrelid, n, true) from generate_series(1, i.indnkeyatts) n)
		from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
			join pg_class t on t.oid = i.indrelid join pg_namespace tn on tn.oid = t.relnamespace
		where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and not t.relispartition
		order by 2`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (x index, err error) {
		err = row.Scan(&x.oid, &x.name, &x.bare, &x.table, &x.definition, &x.valid, &x.primary, &x.enforce, &x.keys)
		return x, err
	})
}

// indexes looks at each new index: valid, no copy, used.
func (j *judge) indexes(ctx context.Context, conn *pgx.Conn, all, added []index, note func(string, ...any)) error {
	find := func(f history.Finding) { f.Trial = history.TrialAfter; j.find(f) }
	var unnamed []string
	for _, x := range added {
		line := j.lineOf(x.bare)
		if !x.valid {
			find(history.Finding{Rule: "invalid-index", Level: history.LevelError, Line: line, Says: x.name + " is INVALID: it enforces nothing, and no query uses it"})
		}
		for _, other := range all {
			if other.name == x.name || other.table != x.table || slices.ContainsFunc(added, func(a index) bool { return a.name == other.name && a.name > x.name }) {
				continue
			}
			if shape(other) == shape(x) {
				find(history.Finding{
					Rule: "duplicate-index", Level: history.LevelWarning, Line: line, Says: fmt.Sprintf("%s is a copy of %s: each write pays for both", x.name, other.name),
					Evidence: []string{x.definition, other.definition},
				})
			}
		}
		var uses []string
		for _, d := range j.directives {
			if d.UsesIndex == "" || strings.Trim(afterDot(d.UsesIndex), `"`) != x.bare {
				continue
			}
			uses = append(uses, d.For)
			for _, generic := range []bool{false, true} {
				plan, used, err := plans(ctx, conn, x, d.For, generic)
				kind := "custom"
				if generic {
					kind = "generic"
				}
				switch {
				case err != nil && environmental(err):
					return err
				case err != nil:
					find(history.Finding{
						Rule: "index-query", Level: history.LevelError, Line: d.Line, Says: fmt.Sprintf("the query that %s is for cannot be planned: %v", x.bare, err),
					})
				case !used:
					find(history.Finding{
						Rule: "index-not-used", Level: history.LevelError, Line: d.Line,
						Says:     fmt.Sprintf("the %s plan of the query that %s is for does not use it, at %d rows a table", kind, x.bare, j.Rows),
						Evidence: append([]string{d.For}, plan...),
					})
				default:
					note("%s is used in the %s plan of: %s", x.bare, kind, d.For)
				}
			}
		}
		if len(uses) == 0 && !x.enforce && !x.primary {
			unnamed = append(unnamed, x.bare)
		}
	}
	if len(unnamed) > 0 {
		j.judged.NotCovered = append(j.judged.NotCovered, fmt.Sprintf(`whether queries use %s: none is named; name one: "-- interlock: uses %s for: SELECT …"`,
			strings.Join(unnamed, ", "), unnamed[0]))
	}
	return nil
}

// shape is an index's definition without its name.
func shape(x index) string {
	_, rest, _ := strings.Cut(x.definition, " ON ")
	if strings.HasPrefix(x.definition, "CREATE UNIQUE") {
		return "unique " + rest
	}
	return rest
}

// lineOf returns the line of the statement that names something; 0: none does.
func (j *judge) lineOf(name string) int {
	for _, s := range j.statements {
		if strings.Contains(s.Text, name) {
			return s.Line
		}
	}
	return 0
}

// plans explains a query, with values for its parameters, or for any. It reports whether the plan uses the index.
func plans(ctx context.Context, conn *pgx.Conn, x index, query string, generic bool) (plan []string, used bool, err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return nil, false, err
	}
	defer func() {
		err = errors.Join(err, tx.Rollback(context.WithoutCancel(ctx)))
		_, _ = conn.Exec(context.WithoutCancel(ctx), `deallocate interlock_uses`) // it is there unless the query was refused
	}()
	mode := "force_custom_plan"
	if generic {
		mode = "force_generic_plan"
	}
	query = strings.TrimSuffix(strings.TrimSpace(query), ";")
	if _, err := tx.Exec(ctx, `set local plan_cache_mode = `+mode+`; prepare interlock_uses as `+query, pgx.QueryExecModeSimpleProtocol); err != nil {
		return nil, false, err
	}
	var types []string
	if err := tx.QueryRow(ctx, `select parameter_types::text[] from pg_prepared_statements where name = 'interlock_uses'`,
		pgx.QueryExecModeExec).Scan(&types); err != nil {
		return nil, false, err
	}
	values := make([]string, len(types))
	for i, typ := range types {
		values[i] = "NULL"
		for _, key := range x.keys {
			var value *string
			if err := tx.QueryRow(ctx, fmt.Sprintf(`select quote_literal((select %[1]s from %[2]s where (%[1]s) is not null and pg_typeof(%[1]s)::text = %[3]s limit 1)::text)`,
				key, x.table, quote(typ)), pgx.QueryExecModeExec).Scan(&value); err != nil {
				return nil, false, err
			}
			if value != nil {
				values[i] = *value
				break
			}
		}
	}
	call := "interlock_uses"
	if len(values) > 0 {
		call += "(" + strings.Join(values, ", ") + ")"
	}
	var raw string
	if err := tx.QueryRow(ctx, `explain (format json) execute `+call, pgx.QueryExecModeSimpleProtocol).Scan(&raw); err != nil {
		return nil, false, err
	}
	var explained []struct{ Plan node }
	if err := json.Unmarshal([]byte(raw), &explained); err != nil {
		return nil, false, err
	}
	for _, e := range explained {
		e.Plan.walk(0, func(depth int, n node) {
			plan = append(plan, strings.TrimRight(strings.Repeat("  ", depth)+n.Type+" "+n.Index+n.Relation, " "))
			used = used || n.Index == x.bare
		})
	}
	return plan, used, nil
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// node is a node of a plan.
type node struct {
	Type     string `json:"Node Type"`
	Index    string `json:"Index Name"`
	Relation string `json:"Relation Name"`
	Plans    []node `json:"Plans"`
}

func (n node) walk(depth int, see func(int, node)) {
	see(depth, n)
	for _, child := range n.Plans {
		child.walk(depth+1, see)
	}
}

// grow builds each new index over a quarter, a half and all of the rows, and says what that makes of a million and of ten.
func (j *judge) grow(ctx context.Context, conn *pgx.Conn, added []index, note func(string, ...any)) error {
	for _, x := range added {
		var rows int
		if err := conn.QueryRow(ctx, `select count(*) from `+x.table).Scan(&rows); err != nil {
			return err
		}
		at := strings.Index(x.definition, " ON ")
		using := strings.Index(x.definition, " USING ")
		if rows < 100 || at < 0 || using < at {
			continue
		}
		var sizes, times, counts []float64
		for _, n := range []int{rows / 4, rows / 2, rows} {
			err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, fmt.Sprintf(`create temporary table interlock_part on commit drop as select * from %s limit %d`, x.table, n)); err != nil {
					return err
				}
				fastest := math.Inf(1)
				for range 3 {
					began := time.Now()
					if _, err := tx.Exec(ctx, `create index interlock_grown on interlock_part`+x.definition[using:], pgx.QueryExecModeSimpleProtocol); err != nil {
						return err
					}
					fastest = min(fastest, float64(time.Since(began).Microseconds())/1000)
					var size int64
					if err := tx.QueryRow(ctx, `select pg_relation_size('interlock_grown')`).Scan(&size); err != nil {
						return err
					}
					if len(sizes) == len(times) {
						sizes = append(sizes, float64(size)/1e6)
					}
					if _, err := tx.Exec(ctx, `drop index interlock_grown`); err != nil {
						return err
					}
				}
				times, counts = append(times, fastest), append(counts, float64(n))
				return nil
			})
			if err != nil {
				return err
			}
		}
		a, b, fit := line(counts, times)
		c, d, sizeFit := line(counts, sizes)
		note("%s: build %.1f, %.1f, %.1f ms and %.2f, %.2f, %.2f MB over %.0f, %.0f, %.0f rows; linear fits (R² %.2f and %.2f) make that %.1f s and %.0f MB for 1 million rows, %.0f s and %.0f MB for 10 million",
			x.bare, times[0], times[1], times[2], sizes[0], sizes[1], sizes[2], counts[0], counts[1], counts[2], fit, sizeFit,
			max(0, a+b*1e6)/1000, max(0, c+d*1e6), max(0, a+b*1e7)/1000, max(0, c+d*1e7))
	}
	return nil
}

// line fits y = a + b·x by least squares; r2 says how well.
func line(x, y []float64) (a, b, r2 float64) {
	n := float64(len(x))
	var sx, sy, sxx, sxy, syy float64
	for i := range x {
		sx, sy, sxx, sxy, syy = sx+x[i], sy+y[i], sxx+x[i]*x[i], sxy+x[i]*y[i], syy+y[i]*y[i]
	}
	b = (n*sxy - sx*sy) / (n*sxx - sx*sx)
	a = (sy - b*sx) / n
	if spread := n*syy - sy*sy; spread > 0 {
		r := (n*sxy - sx*sy) / math.Sqrt((n*sxx-sx*sx)*spread)
		return a, b, r * r
	}
	return a, b, 1
}
