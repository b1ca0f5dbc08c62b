package reproduce

import (
	"bytes"
	"fmt"
	"go/format"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/interlock-pg/interlock/harness/history"
)

// Go writes the race as a test, a file of its own. It plays the recorded statements in the recorded order on a Postgres that it finds or starts, and
// fails as long as that breaks the invariant.
func Go(w io.Writer, r Race) error {
	r, err := r.writable()
	if err != nil {
		return err
	}
	if err := r.plain(); err != nil {
		return err
	}
	x, in := r.Example, *r.Example.Interleaving
	var b bytes.Buffer
	b.WriteString("package race_test\n\n")
	made, settings, environment := "Template(ctx, reproduce.Schema("+texts(r.Schema)+"))", "", ""
	if r.Template != "" {
		made = "TemplateOf(ctx, " + text(r.Template) + ", nil) // on the server that INTERLOCK_POSTGRES names, as a DSN"
		settings, environment = `DSN: os.Getenv("INTERLOCK_POSTGRES")`, "\"os\"\n"
	}
	b.WriteString(`import (
	"context"
	` + environment + `"testing"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/reproduce"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/auto"
)

`)
	name := "Test" + identifier(r.Name+" "+x.Invariant)
	b.WriteString(comment("//", name+" fails as long as "+strings.TrimSuffix(r.title(), ".")+".",
		"Interlock found that, and wrote this. The statements are those that the clients sent, in the order in which they break it.",
		"What you change in your migrations, change in the schema; what you change in your code, in the statements."))
	fmt.Fprintf(&b, `func %s(t *testing.T) {
	ctx := context.Background()
	postgres, err := auto.Provider{}.Start(ctx, server.Config{%s})
	if err != nil {
		t.Fatal(err)
	}
	defer postgres.Stop(ctx)
	template, err := postgres.%s
	if err != nil {
		t.Fatal(err)
	}
	defer template.Drop(ctx)
	explorer := explore.New(template)
	defer explorer.Close(ctx)

	scenario := harness.Scenario{
`, name, settings, made)
	if len(x.Start) > 0 {
		fmt.Fprintf(&b, "Start: reproduce.Start(%s),\n", texts(x.Start))
	}
	b.WriteString("Clients: []harness.Client{\n")
	for i := range in.Clients {
		writeClient(&b, x, i)
	}
	b.WriteString("},\n")
	outcomes := ""
	if x.Outcomes {
		outcomes = ", Outcomes: true"
	}
	fmt.Fprintf(&b, "Invariants: []harness.Invariant{{Name: %s, Says: %s%s, SQL: %s}},\n}\n", text(x.Invariant), text(r.Says), outcomes, text(x.Query))

	b.WriteString("order := []int{")
	for i, choice := range in.Choices() {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(choice))
	}
	b.WriteString("} // of the clients' steps: statements, and the ends of transactions\n")
	b.WriteString(`played, err := explorer.Play(ctx, scenario, order)
	if err != nil {
		t.Fatal(err)
	}
	`)
	fmt.Fprintf(&b, "if played.Breaks(%s) {\nt.Error(%s)\n}\n}\n", text(x.Invariant), text(line(x.Invariant+" is broken: "+r.Says)))
	source, err := format.Source(b.Bytes())
	if err != nil {
		return fmt.Errorf("%s: the test does not compile: %w; try --as psql, and report this", r.Name, err)
	}
	_, err = w.Write(source)
	return err
}

// writeClient writes the i-th client with its operations.
func writeClient(b *bytes.Buffer, x history.Counterexample, i int) {
	in := *x.Interleaving
	fmt.Fprintf(b, "reproduce.Client(%s, ", text(in.Clients[i]))
	if i >= len(in.Settings) || len(in.Settings[i]) == 0 {
		b.WriteString("nil")
	} else {
		b.WriteString("map[string]string{")
		for _, name := range slices.Sorted(maps.Keys(in.Settings[i])) {
			fmt.Fprintf(b, "%s: %s, ", text(name), text(in.Settings[i][name]))
		}
		b.WriteString("}")
	}
	b.WriteString(",\n")

	numbers := map[*act]int{} // of the client's statements
	count := 0
	op := operation(x, in.Clients[i], 0) // that it is at
	var sent []string
	for _, a := range acts(in) {
		if a.at != i {
			continue
		}
		for _, sql := range a.raw() {
			sent = append(sent, "{SQL: "+text(sql)+"}")
			count++
		}
		if !a.closes {
			numbers[a] = count
			sent = append(sent, a.source(numbers))
			count++
		}
		for _, told := range a.Told {
			op = operation(x, a.Client, told.Operation)
			op.Kind, op.Outcome = told.Kind, told.Outcome
			writeOperation(b, op, row(op, numbers), sent)
			op, sent = operation(x, a.Client, told.Operation+1), nil
		}
	}
	if sent != nil {
		writeOperation(b, op, "", sent)
	}
	b.WriteString("),\n")
}

// operation returns the n-th operation of a client.
func operation(x history.Counterexample, client string, n int) history.Operation {
	i := slices.IndexFunc(x.Round.Operations, func(o history.Operation) bool { return o.Client == client && o.Number == n })
	if i < 0 {
		return history.Operation{}
	}
	return x.Round.Operations[i]
}

// row returns the row of an operation: where one of the client's statements returned it, that.
func row(op history.Operation, numbers map[*act]int) string {
	if op.Row == "" {
		return ""
	}
	value, first := text(op.Row), -1
	for a, n := range numbers {
		if column := a.returned(op.Row); column >= 0 && (first < 0 || n < first) {
			value, first = fmt.Sprintf("reproduce.Returned{Statement: %d, Column: %d}", n, column), n
		}
	}
	return value
}

func writeOperation(b *bytes.Buffer, op history.Operation, row string, sent []string) {
	b.WriteString("reproduce.Operation{")
	for _, field := range [][2]string{
		{"Kind", op.Kind},
		{"Slot", op.Slot},
		{"Subject", op.Subject},
		{"Input", string(op.Input)},
		{"Told", op.Outcome},
	} {
		if field[1] != "" {
			fmt.Fprintf(b, "%s: %s, ", field[0], text(field[1]))
		}
	}
	if row != "" {
		fmt.Fprintf(b, "Row: %s, ", row)
	}
	fmt.Fprintf(b, "Sent: []reproduce.Statement{\n%s,\n}},\n", strings.Join(sent, ",\n"))
}

// raw returns the statements that the client sends before the step.
func (a *act) raw() []string {
	all := a.sql(a.constant)
	all = all[:len(all)-1]
	if a.opens { // the gate does this by itself
		all = all[:len(all)-1]
	}
	return all
}

// source returns the step as a [Statement].
func (a *act) source(numbers map[*act]int) string {
	sql := bare(a.SQL)
	if sql == "" {
		sql = a.Kind
	}
	fields := "{SQL: " + text(sql)
	if len(a.Parameters) > 0 {
		fields += ", Parameters: []any{"
		for i, v := range a.Parameters {
			switch from := a.sources[i]; {
			case v == nil:
				fields += "nil, "
			case from.from != nil:
				fields += fmt.Sprintf("reproduce.Returned{Statement: %d, Column: %d}, ", numbers[from.from], from.column)
			default:
				fields += text(*v) + ", "
			}
		}
		fields += "}"
	}
	if a.ended.SQLState != "" {
		fields += ", Fails: " + text(a.ended.SQLState)
	}
	return fields + "}"
}

// texts returns strings in Go, a line each.
func texts(all []string) string {
	var b strings.Builder
	for _, s := range all {
		b.WriteString("\n" + text(s) + ",")
	}
	if len(all) > 0 {
		b.WriteString("\n")
	}
	return b.String()
}

// text returns s as a string in Go, over several lines where it is.
func text(s string) string {
	if strings.ContainsAny(s, "\n\"\\") && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r == '`' || r == '\uFEFF' || r != '\n' && r != '\t' && !unicode.IsPrint(r)
	}) {
		return "`" + s + "`"
	}
	return strconv.Quote(s)
}

// identifier returns the letters and digits of s, each word with a capital.
func identifier(s string) string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		r, n := utf8.DecodeRuneInString(word)
		b.WriteRune(unicode.ToUpper(r))
		b.WriteString(word[n:])
	}
	return b.String()
}
