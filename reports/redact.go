package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/reproduce/literal"
	"github.com/interlock-pg/interlock/harness/sqltext"
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
	{"a file", (*redactor).file, "Migration.Path Finding.File Counterexample.File Baseline.File"},
	{"a word of a command", (*redactor).word, "Run.Command"},
	{"a command", (*redactor).command, "Counterexample.Again Finding.Repair"},

	{"kept: a migration's own SQL, or what a schema is made of: code", (*redactor).own, `Finding.Statement Statement.SQL Index.Definition Judged.Changes`},
	{"kept: a name in a schema, or of a scenario", (*redactor).name, `Index.Name Index.Table ArchivedRow.Table Lock.Table Relation.Name Statement.Rewrote Table.Columns
		Step.Types Cell.Scenario Cell.Variant Arm.Scenario Arm.Variant`},
	{"kept: one of a few words of Interlock or Postgres", keep, `Run.Kind Run.Verdict Run.Layout Server.Provider Cell.Verdict Judgement.Verdict Judgement.Expected
		Violation.Moment Step.Kind Step.Isolation Step.Outcome Step.Tag Exploration.Strategy CheckedOne.Verdict Repair.Keep RepairGroup.State Judged.Verdict
		Trial.Name Trial.State Finding.Rule Finding.Trial Finding.Level Lock.Mode Lock.Blocks LoadShape.Arrivals Arm.Verdict Wait.Type Wait.Event
		Requirement.Verdict BaselineArm.Verdict`},
	{"kept: an SQLSTATE, or outcomes, with their counts", keep, `Operation.SQLState Step.SQLState Finding.SQLState Operation.Outcome Told.Outcome LoadKind.Outcome
		Coverage.Outcomes Exploration.Outcomes Arm.Errors`},
	{"kept: written in a scenario or in a workload", keep, `Cell.Says Arm.Says Judgement.Invariant Judgement.Says Violation.Invariant Counterexample.Invariant
		CheckedOne.Invariant CheckedOne.Says Index.Protects RepairGroup.Invariant Step.Broken Operation.Kind Told.Kind LoadKind.Kind`},
	{"kept: the name of a client or of an arm", keep, `Operation.Client Step.Client Step.WaitsFor Interleaving.Clients Outage.Arm Requirement.Arm BaselineArm.Arm`},
	{"kept: a version, a checksum of code, a number of the run", keep, `Tool.Version Tool.Go Tool.OS Tool.Arch Server.Release Migration.Checksum Exploration.Possible
		Repair.ID`},
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

// sql hides the literals of statements, and what their comments say of values.
func (r *redactor) sql(s string) string {
	return r.once("sql "+s, func() string { return r.literals(s, r.value) })
}

// once returns what f returned for a key in this phase.
func (r *redactor) once(key string, f func() string) string {
	out, done := r.done[key]
	if !done {
		out = f()
		r.done[key] = out
	}
	return out
}

// own keeps the SQL of a migration and remembers what it is made of.
func (r *redactor) own(s string) string {
	if r.phase == learnNames {
		r.literals(s, func(literal string) string {
			r.code[literal] = true
			return literal
		})
	}
	return s
}

// derived is sql but for literals of migrations, and for settings.
func (r *redactor) derived(s string) string {
	hide := func(literal string) string {
		if r.code[literal] {
			return literal
		}
		return r.value(literal)
	}
	var b strings.Builder
	at := 0
	for _, st := range sqltext.Message(s) {
		b.WriteString(r.literals(s[at:st.Offset], hide))
		at = st.Offset + len(st.Text)
		if st.Begins("set") {
			b.WriteString(st.Text)
		} else {
			b.WriteString(r.literals(st.Text, hide))
		}
	}
	return b.String() + r.literals(s[at:], hide)
}

// literals returns s with what hide makes of its literals.
func (r *redactor) literals(s string, hide func(string) string) string {
	var b strings.Builder
	at, rest := 0, 0 // rest: what is read and not yet written begins there
	flush := func() {
		b.WriteString(r.bare(s[rest:at], hide))
	}
	for kind, piece := range literal.Pieces(s) {
		if left := s[at:]; kind == literal.Other && (piece == "'" || piece == `"` || strings.HasPrefix(left, "/*")) { // it never ends
			flush()
			open := min(len(left), len(piece))
			if piece == "/" {
				open = len("/*")
			}
			return b.String() + left[:open] + hide(left[open:])
		}
		if kind != literal.Other {
			flush()
			rest = at + len(piece)
		}
		at += len(piece)
		switch kind {
		case literal.String:
			b.WriteString(quotes(piece, hide))
		case literal.Space:
			b.WriteString(r.sentence(piece))
		case literal.Parameter:
			b.WriteString(piece)
		}
	}
	flush()
	return b.String()
}

// quotes returns a literal with what hide makes of what is in its quotes.
func quotes(piece string, hide func(string) string) string {
	if piece[0] == '$' {
		tag := piece[:strings.IndexByte(piece[1:], '$')+2]
		body, closed := strings.CutSuffix(piece[len(tag):], tag)
		if closed {
			return tag + hide(body) + tag
		}
		return tag + hide(body)
	}
	open := strings.IndexByte(piece, '\'') + 1
	body := piece[open : len(piece)-1]
	if open > 1 {
		body = escapes.Replace(body)
	} else {
		body = strings.ReplaceAll(body, "''", "'")
	}
	if hidden := hide(body); hidden != body {
		return piece[:open] + hidden + "'"
	}
	return piece
}

// escapes undoes those that are written often; what is written in another way counts as another value.
var escapes = strings.NewReplacer(`\\`, `\`, `\'`, "'", "''", "'", `\n`, "\n", `\t`, "\t", `\r`, "\r")

// bares are identifiers and, in the group, numbers.
var bares = regexp.MustCompile(`"(?:[^"]|"")*"|[\pL_][\pL_0-9$]*|(‹[0-9]+›|0[xXoObB][0-9a-fA-F_]+|(?:[0-9][0-9_]*(?:\.[0-9][0-9_]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)`)

// bare returns SQL that has no quotes but those of identifiers, with what hide makes of its numbers.
func (r *redactor) bare(s string, hide func(string) string) string {
	return bares.ReplaceAllStringFunc(s, func(word string) string {
		if found := bares.FindStringSubmatch(word); found[1] != "" {
			return hide(word)
		}
		if r.phase == learnNames {
			r.names[strings.ReplaceAll(strings.Trim(word, `"`), `""`, `"`)] = true
		}
		return word
	})
}

// index prepares the search for what is known.
func (r *redactor) index() {
	lengths := map[string]map[int]bool{}
	for s := range r.known {
		if utf8.RuneCountInString(s) > 2 {
			word := s[:firstWord(s)]
			if lengths[word] == nil {
				lengths[word] = map[int]bool{}
			}
			lengths[word][len(s)] = true
		}
	}
	r.begins = map[string][]int{}
	for word, all := range lengths {
		r.begins[word] = slices.Sorted(maps.Keys(all))
		slices.Reverse(r.begins[word])
	}
}

// found returns how long the longest known value is that s has at i as whole words; 0: there is none.
func (r *redactor) found(s string, i int) int {
	if inWord(s, i) {
		return 0
	}
	for _, n := range r.begins[s[i:i+firstWord(s[i:])]] {
		if i+n <= len(s) && r.known[s[i:i+n]] && !inWord(s, i+n) {
			return n
		}
	}
	return 0
}

// firstWord returns how long the word is that s begins with; of what begins with none, the first character.
func firstWord(s string) int {
	n := strings.IndexFunc(s, func(c rune) bool { return !isWord(c) })
	if n < 0 {
		return len(s)
	}
	_, one := utf8.DecodeRuneInString(s)
	return max(n, one)
}

func isWord(c rune) bool {
	return c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c) || unicode.IsMark(c)
}

// inWord reports whether a word of s goes on at i.
func inWord(s string, i int) bool {
	before, _ := utf8.DecodeLastRuneInString(s[:i])
	after, _ := utf8.DecodeRuneInString(s[i:])
	return i > 0 && i < len(s) && isWord(before) && isWord(after)
}

// forms are how sentences tell values. In each, what becomes of its groups.
var forms = []struct {
	pattern string
	how     []treatment
}{
	{`(‹[0-9]+›)`, []treatment{(*redactor).value}},
	{`([A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>` + "`" + `]+)`, []treatment{(*redactor).place}},
	{`((?i:host|hostaddr|user|dbname|database|passfile|service)=[^\s"'` + "`" + `,;]+|(?i:password)\s*=\s*(?:‹[0-9]+›|'(?:[^'\\]|\\.)*'|\S+))`, []treatment{(*redactor).place}},
	{`Key (\(.*?\)=\(.*?\)) conflicts with existing key (\(.*?\)=\(.*?\))\.?(?:\n|$)`, []treatment{(*redactor).key, (*redactor).key}},
	{`(?i:key) (\(.*?\)=\(.*?\))(?: already exists| is not present| is still referenced| conflicts| is duplicated|\.?(?:\n|$))`, []treatment{(*redactor).key}},
	{`(?i:key) (\([^()]*\)=\([^()]*\))`, []treatment{(*redactor).key}},
	{`Failing row contains \((.*)\)`, []treatment{(*redactor).value}},
	{`(?:constraint|index|relation|table|column|sequence|view|schema|trigger|function|type|policy) ("(?:[^"]|"")*")`, []treatment{keep}},
	{`: "(.*)"$`, []treatment{(*redactor).identifier}}, // what Postgres quotes last may hold quotes
	{`"((?:[^"]|"")*)"`, []treatment{(*redactor).identifier}},
	{`'((?:[^']|'')*)'`, []treatment{(*redactor).literal}},
	{`([0-9]{1,3}(?:\.[0-9]{1,3}){3})(?::[0-9]+ \(([^()\s]+)\))?`, []treatment{(*redactor).value, (*redactor).value}},
	{`(?:lookup|dial unix) ([^\s:,]+)`, []treatment{(*redactor).value}},
	{`(\[[0-9a-fA-F:.%]+\]|(?:[\pL\pN_-]+\.)+[\pL\pN_-]+):[0-9]{4,5}`, []treatment{(*redactor).value}},
	{`(~?(?:/[\pL\pN_.@+~-]+){2,})`, []treatment{(*redactor).file}},
}

// form is any of forms, and groups are what becomes of its groups, from 1.
var form, groups = func() (*regexp.Regexp, []treatment) {
	var patterns []string
	groups := []treatment{nil}
	for _, f := range forms {
		patterns = append(patterns, f.pattern)
		groups = append(groups, f.how...)
	}
	return regexp.MustCompile(`(?s)` + strings.Join(patterns, "|")), groups
}()

// sentence hides what a sentence quotes, the keys that Postgres names, places, and every value that is known. What begins first is what it is, and
// of two that begin together the longer one.
func (r *redactor) sentence(s string) string {
	if r.phase < learnSentences {
		return s
	}
	return r.once("say "+s, func() string { return r.words(s) })
}

// words is sentence, done.
func (r *redactor) words(s string) string {
	var b strings.Builder
	at := 0
	for at < len(s) {
		begin, end := len(s), len(s)
		match := form.FindStringSubmatchIndex(s[at:])
		if match != nil {
			begin, end = at+match[0], at+match[1]
		}
		known := 0
		for at < begin && known == 0 {
			if known = r.found(s, at); known == 0 {
				_, n := utf8.DecodeRuneInString(s[at:])
				b.WriteString(s[at : at+n])
				at += n
			}
		}
		if known == 0 && match != nil {
			if known = r.found(s, at); known < end-begin {
				known = 0
			}
		}
		switch {
		case known > 0:
			b.WriteString(r.value(s[at : at+known]))
			at += known
		case match == nil:
		case !apart(s, at):
			b.WriteByte(s[at])
			at++
		default:
			from := at - match[0]
			for i, how := range groups {
				if i > 0 && match[2*i] >= 0 {
					b.WriteString(s[at:from+match[2*i]] + how(r, s[from+match[2*i]:from+match[2*i+1]]))
					at = from + match[2*i+1]
				}
			}
			b.WriteString(s[at:end])
			at = end
		}
	}
	return b.String()
}

// apart reports whether what s has at i is apart from what is before it, as a quote must be that is no apostrophe, a number, and a path.
func apart(s string, i int) bool {
	before, _ := utf8.DecodeLastRuneInString(s[:i])
	switch c := s[i]; {
	case i == 0:
		return true
	case c == '/' || c == '~':
		return !isWord(before) && !strings.ContainsRune(".›)-/*", before)
	case c == '\'' || c >= '0' && c <= '9':
		return !isWord(before)
	}
	return true
}

// key hides the values of "(a, b)=(1, 2)": each by itself where there are as many as columns.
func (r *redactor) key(s string) string {
	columns, values, _ := strings.Cut(s, ")=(")
	all := []string{strings.TrimSuffix(values, ")")}
	if each := strings.Split(all[0], ", "); len(each) == strings.Count(columns, ", ")+1 {
		all = each
	}
	for i, v := range all {
		if v != "null" {
			all[i] = r.value(v)
		}
	}
	return columns + ")=(" + strings.Join(all, ", ") + ")"
}

// identifier hides what is quoted like an identifier, unless it is one and no value.
func (r *redactor) identifier(s string) string {
	if name := strings.ReplaceAll(s, `""`, `"`); r.known[name] || !r.names[name] {
		return r.value(name)
	}
	return s
}

// literal hides what is quoted like a literal, unless a migration has it and the data have not.
func (r *redactor) literal(s string) string {
	if plain := strings.ReplaceAll(s, "''", "'"); r.known[plain] || !r.code[plain] {
		return r.value(plain)
	}
	return s
}

var (
	address  = regexp.MustCompile(`(?s)^([A-Za-z][A-Za-z0-9+.-]*://)(?:.*@)?([^/?#@]*?)(:[0-9]+)?(/[^?#]*)?(?:[?#].*)?$`)
	pairs    = regexp.MustCompile(`(\w+)(\s*=\s*)(‹[0-9]+›|'(?:[^'\\]|\\.)*'|\S+)`)
	onHost   = regexp.MustCompile(`^(.+) on (.+?)(:[0-9]+)?$`)
	official = regexp.MustCompile(`^postgres(:[\w.-]+)?$`)
)

// place hides the parts of a connection string, of what says where a server is, and of a directory. The user, the password and the options of a URL
// are left out.
func (r *redactor) place(s string) string {
	if part := address.FindStringSubmatch(s); part != nil {
		database := strings.TrimPrefix(part[4], "/")
		return part[1] + r.value(part[2]) + part[3] + part[4][:len(part[4])-len(database)] + r.value(database)
	}
	if pairs.MatchString(s) {
		return pairs.ReplaceAllStringFunc(s, func(pair string) string {
			part := pairs.FindStringSubmatch(pair)
			switch strings.ToLower(part[1]) {
			case "port", "sslmode", "connect_timeout":
				return pair
			}
			return part[1] + part[2] + r.value(strings.Trim(part[3], "'"))
		})
	}
	if part := onHost.FindStringSubmatch(s); part != nil {
		return r.value(part[1]) + " on " + r.value(part[2]) + part[3]
	}
	if official.MatchString(s) {
		return s
	}
	return r.value(s)
}

// file hides the directory of a file.
func (r *redactor) file(s string) string {
	at := strings.LastIndexAny(s, `/\`)
	if at < 0 || s[:at] == "." || s[:at] == "" {
		return s
	}
	return r.value(s[:at]) + s[at:]
}

// word hides what a word of a command has of places and values. The names of scenarios and defences stay.
func (r *redactor) word(s string) string {
	flag, value, given := strings.Cut(s, "=")
	named := !strings.ContainsFunc(s, func(c rune) bool { return unicode.IsSpace(c) || c == '\\' })
	for part := range strings.FieldsFuncSeq(s, func(c rune) bool { return c == ',' || c == '/' }) {
		named = named && r.names[part]
	}
	switch {
	case named:
		return s
	case given && strings.HasPrefix(flag, "-"):
		return flag + "=" + r.word(value)
	case strings.Contains(s, "://"), connection.MatchString(s):
		return r.place(s)
	case strings.ContainsAny(s, `/\`) && !strings.ContainsAny(s, " \n\t'\""):
		return r.file(s)
	}
	return r.sentence(s)
}

var (
	connection = regexp.MustCompile(`^\s*(?:host|hostaddr|port|user|dbname|password|service|sslmode)\s*=`)
	argument   = regexp.MustCompile(`'[^']*'|\S+`)
)

// command hides what a command has of places and values; what is no command of Interlock is SQL.
func (r *redactor) command(s string) string {
	if !strings.HasPrefix(s, "interlock ") {
		return r.derived(s)
	}
	return argument.ReplaceAllStringFunc(s, func(word string) string {
		if inner := strings.Trim(word, "'"); len(inner)+2 == len(word) {
			return "'" + r.word(inner) + "'"
		}
		return r.word(word)
	})
}
