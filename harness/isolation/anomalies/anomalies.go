package anomalies

import (
	"context"
	"embed"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/isolation"
	"github.com/interlock-pg/interlock/harness/race"
)

// Level is an isolation level, by the name of the variant that a workload is.
type Level string

// The levels that PostgreSQL has.
const (
	ReadCommitted  Level = "read-committed"
	RepeatableRead Level = "repeatable-read"
	Serializable   Level = "serializable"
)

// Levels returns them, the weakest first.
func Levels() []Level { return []Level{ReadCommitted, RepeatableRead, Serializable} }

// SQL returns the level as BEGIN takes it.
func (l Level) SQL() string { return strings.ToUpper(strings.ReplaceAll(string(l), "-", " ")) }

// Anomaly is one of the ten.
type Anomaly struct {
	Name string
	Says string  // what happens, in one sentence
	Must string  // what must hold for it not to happen
	SQL  string  // returns a row if it has happened
	At   []Level // where PostgreSQL documents that it can happen
}

var (
	nowhere  []Level
	below    = []Level{ReadCommitted}
	snapshot = []Level{ReadCommitted, RepeatableRead}
)

// All returns the anomalies, from the worst to the subtlest.
func All() []Anomaly {
	return []Anomaly{
		{
			"G0", "dirty write: two transactions write the same rows, and a mix of both is left",
			"rows that are always written together come from one transaction",
			`SELECT x.value AS row_1, y.value AS row_2 FROM test x, test y WHERE x.id = 1 AND y.id = 2 AND x.value % 10 <> y.value % 10`, nowhere,
		},
		{
			"G1a", "aborted read: a transaction reads what another one writes and takes back",
			"nobody reads what is rolled back",
			`SELECT * FROM seen WHERE value = 101`, nowhere,
		},
		{
			"G1b", "intermediate read: a transaction reads what its writer replaces before it commits",
			"nobody reads what is never committed",
			`SELECT * FROM seen WHERE value = 101`, nowhere,
		},
		{
			"G1c", "circular information flow: two transactions each read what the other one writes",
			"of two transactions, one at most reads what the other writes",
			`SELECT a.value AS t1_read, b.value AS t2_read FROM seen a, seen b WHERE a.who = 'T1' AND a.value = 22 AND b.who = 'T2' AND b.value = 11`, nowhere,
		},
		{
			"OTV", "observed transaction vanishes: what was seen of a transaction is missing at the next look",
			"who has seen a transaction goes on seeing it",
			`SELECT a.value AS first, b.value AS second FROM seen a, seen b WHERE a.what = 'row 1' AND b.what = 'row 2' AND a.value - 10 > b.value - 20`, nowhere,
		},
		{
			"PMP", "phantom: the same question is answered differently the second time, for there are new rows",
			"a question asked twice is answered alike",
			`SELECT a.value AS first, b.value AS second FROM seen a, seen b WHERE a.what = 'first' AND b.what = 'second' AND a.value <> b.value`, below,
		},
		{
			"P4", "lost update: two transactions write what they make of the same value, and one is overwritten",
			"every update that was committed counts",
			`SELECT value, count AS updates FROM test, (SELECT count(*) FROM seen) c WHERE id = 1 AND value < 10 + count`, below,
		},
		{
			"G-single", "read skew: a transaction reads one row from before another's writes, and one from after them",
			"who reads both rows reads their sum as it always is",
			`SELECT a.value AS row_1, b.value AS row_2 FROM seen a, seen b WHERE a.what = 'row 1' AND b.what = 'row 2' AND a.value + b.value <> 30`, below,
		},
		{
			"G2-item", "write skew: two transactions each write the row that the other one has read",
			"of two transactions, one reads what the other leaves",
			`SELECT a.value AS t1_read, b.value AS t2_read FROM seen a, seen b WHERE a.who = 'T1' AND a.value = 20 AND b.who = 'T2' AND b.value = 10`, snapshot,
		},
		{
			"G2", "write skew on a condition: two transactions each add a row that the other has looked for in vain",
			"of two transactions, one sees the row that the other adds",
			`SELECT a.value AS t1_read, b.value AS t2_read FROM seen a, seen b WHERE a.who = 'T1' AND a.value = 0 AND b.who = 'T2' AND b.value = 0`, snapshot,
		},
	}
}

//go:embed *.spec
var specs embed.FS

// Apply makes the tables that all of them begin with, in an empty database.
func Apply(ctx context.Context, config *pgx.ConnConfig) error {
	return All()[0].Race(ReadCommitted).Apply(ctx, config)
}

// Race returns the anomaly as a race of transactions at a level.
func (a Anomaly) Race(level Level) isolation.Input {
	file := strings.ToLower(a.Name) + ".spec"
	text, err := specs.ReadFile(file)
	if err != nil {
		panic(err) // it is embedded
	}
	at := strings.ReplaceAll(string(text), "BEGIN;", "BEGIN ISOLATION LEVEL "+level.SQL()+";")
	in, err := isolation.NewInput(file, at, isolation.Invariant{Name: a.Name, Says: a.Must, SQL: a.SQL})
	if err != nil {
		panic(err)
	}
	return in
}

// Workloads returns every anomaly at every level, which is its variant. It must break where PostgreSQL documents that it can happen, and hold elsewhere.
func Workloads() []race.Workload {
	var all []race.Workload
	for _, a := range All() {
		for _, level := range Levels() {
			expect := race.Expectation{Hold: []string{a.Name}}
			if slices.Contains(a.At, level) {
				expect = race.Expectation{Break: []string{a.Name}}
			}
			w := a.Race(level).Workload(a.Name, string(level))
			w.Says, w.Expect = a.Says, func(int64) race.Expectation { return expect }
			all = append(all, w)
		}
	}
	return all
}
