package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
)

// Redact returns a copy of a run that can be shown to people who must not see the data. The run itself is not changed.
//
// Each value that came from the data is replaced by a token, as ‹7›: equal values have the same token in the whole run, different values have
// different ones, and they are numbered in the order in which they are met. Values are compared as text, so the number 17 of an input and the 17
// of a row are equal, and 17 and 17.0 are not. Hidden are inputs, parameters, rows, subjects, slots and keys; literals in SQL and, in its comments
// and in sentences, what stands in quotes or in "Key (…)=(…)"; each hidden value of more than two characters wherever a sentence has it as whole
// words; times that sum up rows; names of hosts, users and databases; directories; passwords.
//
// What stays is the shape: rows, columns, the keys of JSON, statements, counts, times, outcomes, SQLSTATEs, the names of clients, scenarios,
// invariants and of what is in a schema, the names of files. NULL, the empty text, true and false stay too. A migration's own SQL is code and no
// data: it stays as it is, and so do its literals in what the gate wrote for it. A sign before a number in SQL is not part of the number.
//
// In a sentence, a value that is written in another way than in the data (10,000 for 10000), or that stands in no quotes and nowhere else in the
// run, cannot be told from other words and stays. A redacted run cannot be replayed: its inputs and parameters are gone. Redacting it once more
// changes nothing.
func Redact(run history.Run) history.Run {
	for {
		redacted := redact(run)
		if reflect.DeepEqual(redacted, run) {
			return redacted
		}
		run = redacted // where a value is gone, what stood around it may look like something else that is hidden; in most runs nothing does
	}
}

func redact(run history.Run) history.Run {
	r := redactor{names: map[string]bool{}, code: map[string]bool{}, known: map[string]bool{}}
	for r.phase = learnNames; r.phase < hideAll; r.phase++ {
		r.done = map[string]string{}
		r.copy(reflect.ValueOf(run), nil)
		r.index()
	}
	r.done, r.tokens = map[string]string{}, map[string]string{}
	return r.copy(reflect.ValueOf(run), nil).Interface().(history.Run)
}

// phase is one walk over the run. All go the same way.
type phase int

const (
	learnNames     phase = iota // what is in the schema and in code
	learnValues                 // the values in places that hold nothing else
	learnSentences              // the values that sentences quote
	hideAll
)

// treatment returns what is shown of a text.
type treatment func(r *redactor, s string) string

// treated says, for each field of a run that holds text or the time of a row, what becomes of it and why, as "Type.Field". A field that is in no
// list is hidden as a value.
var treated = []struct {
	why    string
	how    treatment
	fields string
}{
	{"a value", (*redactor).value, `Operation.Subject Operation.Slot Operation.Input Operation.Row Round.Input Table.Rows Step.Parameters RepairGroup.Key RepairRow.ID
		RepairRow.Says RepairRow.Version ArchivedRow.ID ArchivedRow.Key`},
	{"a time out of the rows: it is left out", nil, "Groups.Oldest Groups.Newest"},
	{"SQL with literals", (*redactor).sql, "Step.SQL Step.Passed Counterexample.Query Counterexample.Start"},
	{"SQL that the gate wrote for a migration", (*redactor).derived, "Finding.Query Rewrite.SQL"},
	{"a sentence that may hold values", (*redactor).sentence, `Run.Trouble Run.Findings Cell.Trouble Operation.Message Step.Message Step.Lock Exploration.Trouble
		CheckedOne.Plan CheckedOne.Why Index.Why RepairGroup.Why ArchivedRow.Why Trial.Says Trial.Details Finding.Says Finding.Evidence Rewrite.Note Rewrite.Ran
		Gate.Base Judged.NotCovered Arm.Trouble Measurement.Lacking Outage.Why BaselineArm.Why`},
	{"run-time parameters", (*redactor).sentence, "Server.Settings Interleaving.Settings"},
	{"a server, or a database", (*redactor).place, "Server.Where Counterexample.Database Check.Database Repair.Database"},
	{"a directory", (*redactor).value, "Run.MigrationsDir"},
	{"a file", (*redactor).file, "Run.Target Migration.Path Finding.File Counterexample.File Baseline.File"},
	{"a word of a command", (*redactor).word, "Run.Command"},
	{"a command", (*redactor).command, "Counterexample.Again Finding.Repair"},

	{"kept: a migration's own SQL, or what a schema is made of: code", (*redactor).own, `Finding.Statement Statement.SQL LockSpan.Statement Index.Definition Judged.Changes`},
	{"kept: a name in a schema, or of a scenario", (*redactor).name, `Index.Name Index.Table ArchivedRow.Table Lock.Table LockSpan.Table Relation.Name Statement.Rewrote Table.Columns
		Step.Types Cell.Scenario Cell.Variant Arm.Scenario Arm.Variant`},
	{"kept: one of a few words of Interlock or Postgres", keep, `Run.Kind Run.Verdict Run.Layout Server.Provider Cell.Verdict Judgement.Verdict Judgement.Expected
		Violation.Moment Step.Kind Step.Isolation Step.Outcome Step.Tag Exploration.Strategy CheckedOne.Verdict Repair.Keep RepairGroup.State Judged.Verdict
		Trial.Name Trial.State Finding.Rule Finding.Trial Finding.Level Lock.Mode LockSpan.Mode Lock.Blocks LoadShape.Arrivals Arm.Verdict Wait.Type Wait.Event
		Requirement.Verdict BaselineArm.Verdict Step.Fault Exploration.Faults`},
	{"kept: an SQLSTATE, or outcomes, with their counts", keep, `Operation.SQLState Step.SQLState Finding.SQLState Operation.Outcome Told.Outcome LoadKind.Outcome
		Coverage.Outcomes Exploration.Outcomes Arm.Errors`},
	{"kept: written in a scenario or in a workload", keep, `Cell.Says Arm.Says Judgement.Invariant Judgement.Says Violation.Invariant Counterexample.Invariant
		CheckedOne.Invariant CheckedOne.Says Index.Protects RepairGroup.Invariant Step.Broken Operation.Kind Told.Kind LoadKind.Kind Slice.Kinds BaselineArm.Kind`},
	{"kept: the name of a client or of an arm", keep, `Operation.Client Step.Client Step.WaitsFor Interleaving.Clients Exploration.Silent Outage.Arm Requirement.Arm BaselineArm.Arm`},
	{"kept: a version, a checksum of code, a number of the run", keep, `Tool.Version Tool.Go Tool.OS Tool.Arch Server.Release Migration.Checksum Exploration.Possible
		Repair.ID`},
	{"kept: SQL without its values", keep, "Exploration.Background Exploration.Frozen"},
	{"kept: written in a migration, or about it as a whole", keep, "Migration.Label Finding.Allowed"},
	{"kept: a threshold and what was measured", keep, "Requirement.Says Requirement.Was"},
	{"kept: when the run began", keep, "Run.Started"},
}

var treatments = func() map[string]treatment {
	all := map[string]treatment{}
	for _, t := range treated {
		for _, field := range strings.Fields(t.fields) {
			all[field] = t.how
		}
	}
	return all
}()

func keep(_ *redactor, s string) string { return s }

// redactor knows what is hidden in one run.
type redactor struct {
	phase  phase
	names  map[string]bool  // identifiers
	code   map[string]bool  // literals of migrations
	known  map[string]bool  // values that sentences are searched for
	begins map[string][]int // how long those are that begin with a word, the longest first
	tokens map[string]string
	done   map[string]string // what became of SQL and of sentences in this phase: runs repeat them
}

// copy returns a copy of v with its texts treated.
func (r *redactor) copy(v reflect.Value, how treatment) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.Struct:
		out.Set(v)
		if v.Type() == reflect.TypeFor[time.Time]() {
			break
		}
		for i := range v.NumField() {
			how, listed := treatments[v.Type().Name()+"."+v.Type().Field(i).Name]
			switch {
			case !listed:
				how = (*redactor).value
			case how == nil:
				out.Field(i).SetZero()
				continue
			}
			out.Field(i).Set(r.copy(v.Field(i), how))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			out.Set(reflect.New(v.Type().Elem()))
			out.Elem().Set(r.copy(v.Elem(), how))
		}
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			out.SetBytes(r.json(v.Bytes()))
			break
		}
		if !v.IsNil() {
			out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		}
		for i := range v.Len() {
			out.Index(i).Set(r.copy(v.Index(i), how))
		}
	case reflect.Map:
		if !v.IsNil() {
			out.Set(reflect.MakeMap(v.Type()))
		}
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			of := how
			if personal(key.String()) {
				of = (*redactor).value
			}
			out.SetMapIndex(key, r.copy(v.MapIndex(key), of))
		}
	case reflect.String:
		out.SetString(how(r, v.String()))
	default:
		out.Set(v)
	}
	return out
}

// personal reports whether a run-time parameter is set to something of the user's own.
func personal(parameter string) bool {
	return strings.Contains(parameter, ".") ||
		slices.Contains([]string{"application_name", "cluster_name", "listen_addresses", "role", "session_authorization"}, parameter)
}

// value hides a text that is a value and nothing else.
func (r *redactor) value(s string) string {
	switch {
	case r.phase == learnNames, slices.Contains([]string{"", "t", "f", "true", "false"}, s):
		return s
	case r.phase != hideAll:
		r.known[s] = true
		return s
	}
	token, met := r.tokens[s]
	if !met {
		token = "‹" + strconv.Itoa(len(r.tokens)+1) + "›"
		r.tokens[s] = token
	}
	return token
}

// name keeps a name and remembers it.
func (r *redactor) name(s string) string {
	if r.phase == learnNames {
		r.names[s] = true
		for part := range strings.SplitSeq(s, ".") {
			r.names[strings.Trim(part, `"`)] = true
		}
	}
	return s
}

// json hides strings and numbers; what it puts in their places are strings. What is no JSON becomes one.
func (r *redactor) json(raw []byte) []byte {
	switch {
	case len(raw) == 0:
		return bytes.Clone(raw)
	case !json.Valid(raw):
		return quoted(r.value(string(raw)))
	}
	var b bytes.Buffer
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	r.element(&b, dec)
	return b.Bytes()
}

// element writes the next element of what is valid JSON.
func (r *redactor) element(b *bytes.Buffer, dec *json.Decoder) {
	token, _ := dec.Token()
	switch t := token.(type) {
	case json.Delim:
		b.WriteRune(rune(t))
		for i := 0; dec.More(); i++ {
			if i > 0 {
				b.WriteByte(',')
			}
			if t == '{' {
				key, _ := dec.Token()
				b.Write(quoted(fmt.Sprint(key)))
				b.WriteByte(':')
			}
			r.element(b, dec)
		}
		_, _ = dec.Token()
		b.WriteRune(rune(t) + 2) // in ASCII, what closes is the second after what opens
	case string:
		b.Write(quoted(r.value(t)))
	case json.Number:
		b.Write(quoted(r.value(t.String())))
	case bool:
		b.WriteString(strconv.FormatBool(t))
	default:
		b.WriteString("null")
	}
}

// quoted returns s as JSON.
func quoted(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a text always can be
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
