package ddl

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	pg "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"github.com/wasilibs/go-pgquery/parser"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// grammar is the major version of PostgreSQL whose grammar is asked.
const grammar = 17

// deepest is how many words and operators may stand around one another. At twice as many, the grammar runs out of stack.
const deepest = 1500

// deep reports whether the grammar may run out of stack over a statement. It overestimates: every word and operator of an item between commas counts.
func deep(sql string) bool {
	if len(sql) <= deepest {
		return false
	}
	tokens, err := pgquery.Scan(sql)
	if err != nil {
		return false // then it does not get as far
	}
	type level struct{ item, sets int } // since the last comma; UNION and JOIN go on over commas
	levels := []level{{}}
	sum := 0
	for _, t := range tokens.Tokens {
		top := &levels[len(levels)-1]
		switch t.Token {
		case pg.Token_ICONST, pg.Token_FCONST, pg.Token_SCONST, pg.Token_SQL_COMMENT, pg.Token_C_COMMENT:
		case pg.Token_ASCII_40, pg.Token_ASCII_91: // ( and [
			levels = append(levels, level{})
		case pg.Token_ASCII_41, pg.Token_ASCII_93:
			if len(levels) > 1 {
				sum -= top.item + top.sets
				levels = levels[:len(levels)-1]
			}
		case pg.Token_ASCII_44, pg.Token_ASCII_59: // , and ;
			sum -= top.item
			top.item = 0
		case pg.Token_UNION, pg.Token_INTERSECT, pg.Token_EXCEPT, pg.Token_JOIN:
			top.sets++
			sum++
		default:
			top.item++
			sum++
		}
		if sum > deepest {
			return true
		}
	}
	return false
}

// gaveUp says that the grammar ran out of stack. The library keeps that instance and uses it again, and from then on what it says is wrong: so it
// is not asked any more by this process.
var gaveUp atomic.Bool

var errGaveUp = errors.New("the grammar gave up on a statement and cannot be asked again here: " +
	"take the statement that is nested so deep into a file of its own")

// syntaxError says what the grammar refused.
type syntaxError struct {
	message string
	at      int // in bytes
	// mayBeFine says that the server may well accept it.
	mayBeFine bool
}

func (e *syntaxError) Error() string { return e.message }

// parse returns the tree of one statement.
func parse(sql string) (node *pg.Node, err error) {
	if !utf8.ValidString(sql) {
		return nil, &syntaxError{message: "it is not UTF-8"}
	}
	if i := strings.IndexByte(sql, 0); i >= 0 {
		return nil, &syntaxError{message: "there is a zero byte in it", at: i}
	}
	if gaveUp.Load() {
		return nil, errGaveUp
	}
	if deep(sql) {
		return nil, &syntaxError{message: "it is nested too deep for the grammar as it is built in here", mayBeFine: true}
	}
	defer func() {
		if p := recover(); p != nil {
			gaveUp.Store(true)
			node, err = nil, fmt.Errorf("asking PostgreSQL's grammar about a statement of %d bytes: %v; %w", len(sql), p, errGaveUp)
		}
	}()
	tree, err := pgquery.Parse(sql)
	var refused *parser.Error
	switch {
	case errors.As(err, &refused):
		return nil, &syntaxError{message: refused.Message, at: byteOf(sql, refused.Cursorpos)}
	case err != nil:
		return nil, fmt.Errorf("asking PostgreSQL's grammar: %w; try again, and report it with the statement", err)
	case len(tree.Stmts) != 1:
		return nil, &syntaxError{message: fmt.Sprintf("it reads as %d statements", len(tree.Stmts))}
	}
	return tree.Stmts[0].Stmt, nil
}

// byteOf turns a position in characters, from 1, into one in bytes, from 0.
func byteOf(sql string, character int) int {
	for i := range sql {
		character--
		if character <= 0 {
			return i
		}
	}
	return len(sql)
}

// deparse turns statements into text; empty if the grammar's writer cannot.
func deparse(statements ...*pg.Node) (sql string) {
	defer func() {
		if recover() != nil {
			gaveUp.Store(true)
			sql = ""
		}
	}()
	var lines []string
	for _, s := range statements {
		text, err := pgquery.Deparse(&pg.ParseResult{Stmts: []*pg.RawStmt{{Stmt: s}}})
		if err != nil {
			return ""
		}
		lines = append(lines, text+";")
	}
	return strings.Join(lines, "\n")
}

// expression turns an expression into text.
func expression(e *pg.Node) string {
	target := &pg.Node{Node: &pg.Node_ResTarget{ResTarget: &pg.ResTarget{Val: e}}}
	sql := deparse(&pg.Node{Node: &pg.Node_SelectStmt{SelectStmt: &pg.SelectStmt{TargetList: []*pg.Node{target}}}})
	return strings.TrimSuffix(strings.TrimPrefix(sql, "SELECT "), ";")
}

// typeText turns a type into text.
func typeText(t *pg.TypeName) string {
	cast := expression(&pg.Node{Node: &pg.Node_TypeCast{TypeCast: &pg.TypeCast{Arg: pg.MakeAConstIntNode(1, 0), TypeName: t}}})
	return strings.TrimPrefix(cast, "1::")
}

// walk visits all nodes below a message, outer ones first, and those below one only if visit says so.
func walk(m proto.Message, visit func(*pg.Node) bool) {
	if m == nil || !m.ProtoReflect().IsValid() {
		return
	}
	if n, ok := m.(*pg.Node); ok && (n.Node == nil || !visit(n)) {
		return
	}
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				walk(v.List().Get(i).Message().Interface(), visit)
			}
		default:
			walk(v.Message().Interface(), visit)
		}
		return true
	})
}

// words returns the strings of a list, as those of a qualified name.
func words(list []*pg.Node) []string {
	var out []string
	for _, n := range list {
		if s := n.GetString_(); s != nil {
			out = append(out, s.Sval)
		}
	}
	return out
}

// last returns the last word of a qualified name.
func last(list []*pg.Node) string {
	w := words(list)
	if len(w) == 0 {
		return ""
	}
	return w[len(w)-1]
}

// Prepare loads the grammar, which takes a second that the first Read would take otherwise.
func Prepare() { _, _ = parse("select 1") }
