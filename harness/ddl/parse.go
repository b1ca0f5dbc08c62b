package ddl

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	pg "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"github.com/wasilibs/go-pgquery/parser"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// grammar is the major version of PostgreSQL whose grammar is asked.
const grammar = 17

// syntaxError says what the grammar refused.
type syntaxError struct {
	message string
	at      int // in bytes
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
	defer func() { // the grammar's stack is small, and it ends with a trap
		if p := recover(); p != nil {
			node, err = nil, &syntaxError{message: fmt.Sprint("the grammar gave up: ", p)}
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
