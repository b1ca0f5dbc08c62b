package isolation_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/isolation"
)

func TestParse(t *testing.T) {
	spec, err := isolation.Parse("f.spec", []byte(`# a comment
setup { CREATE TABLE t (); }
setup
{
  INSERT 1;
}
teardown{DROP TABLE t;}
session "first ""one"""
setup		{ BEGIN; }
step a1{}
step größe$2	{ SELECT '#"('; -- not a comment
	}
teardown { END; }
session s2 step "session" { SELECT 2; } # another
permutation größe$2(*) "session"(a1,größe$2 notices 12)a1 permutation a1
`))
	require.NoError(t, err)
	require.Equal(t, &isolation.Spec{
		Setups: []string{"CREATE TABLE t ();", "\n  INSERT 1;\n"}, Teardown: "DROP TABLE t;",
		Sessions: []isolation.Session{
			{
				Name: `first "one"`, Setup: "BEGIN;", Teardown: "END;",
				Steps: []isolation.Step{{Name: "a1"}, {Name: "größe$2", SQL: "SELECT '#\"('; -- not a comment\n"}},
			},
			{Name: "s2", Steps: []isolation.Step{{Name: "session", SQL: "SELECT 2;"}}},
		},
		Permutations: []isolation.Permutation{
			{Steps: []isolation.PermutationStep{
				{Step: "größe$2", Markers: []isolation.Marker{{Kind: isolation.Once}}},
				{Step: "session", Markers: []isolation.Marker{{Kind: isolation.Active, Step: "a1"}, {Kind: isolation.Notices, Step: "größe$2", Notices: 12}}},
				{Step: "a1"},
			}},
			{Steps: []isolation.PermutationStep{{Step: "a1"}}},
		},
	}, spec)
}

func TestSyntaxErrors(t *testing.T) {
	const s1 = "session s1\nstep a { A }\n"
	const s2 = "session s2\nstep b { B }\n"
	for _, c := range []struct{ text, position, problem, try string }{
		{"", "1:1", "unexpected end of the file", "session NAME"},
		{"# nothing\n", "2:1", "unexpected end of the file", "session NAME"},
		{"sesion s1", "1:1", `unexpected "sesion"`, "session NAME"},
		{"setup session", "1:7", `unexpected "session"`, "setup { SQL }"},
		{"setup { SELECT 1;\n\nsession s1", "1:7", "this block has no end", `close it with "}"`},
		{"setup { A } } session s1", "1:13", `unexpected '}'`, "in braces"},
		{"session\nsetup { A }", "2:1", `unexpected "setup"`, `to call something "setup", put the name in quotes`},
		{"session \"s1\nstep a { A }", "1:9", "this name has no end", "on the same line"},
		{"session s1", "1:11", "unexpected end of the file", "step NAME { SQL }"},
		{"session s1 setup { A } setup { B }", "1:24", `unexpected "setup"`, "step NAME { SQL }"},
		{"session s1 step { A }", "1:17", "unexpected block", "step NAME { SQL }"},
		{"session s1\n\tstep a b { A }", "2:9", `unexpected "b"`, "step NAME { SQL }"},
		{"session s1\nstep a; { A }", "2:7", `unexpected ';'`, "in braces"},
		{s1 + "setup { A }", "3:1", `unexpected "setup"`, "before its sessions"},
		{s1 + "step a { B }", "3:6", `there is a step "a" already`, "another name"},
		{s1 + s2 + "permutation", "5:12", "unexpected end of the file", "permutation STEP"},
		{s1 + s2 + "permutation a c", "5:15", `there is no step "c"`, "the name of a step"},
		{s1 + s2 + "permutation a b\nsession s3", "6:1", `unexpected "session"`, "there is nothing else"},
		{s1 + s2 + "permutation a(", "5:15", "unexpected end of the file", "(STEP notices 2)"},
		{s1 + s2 + "permutation ä(* b", "5:17", `unexpected "b"`, `or ")"`},
		{s1 + s2 + "permutation a(b notices) b", "5:24", `unexpected ")"`, "the number of notices"},
		{s1 + s2 + "permutation a(b notices 99999999999999999999) b", "5:25", "nobody sends that many notices", "a smaller number"},
		{s1 + s2 + "permutation a(b) a", "5:15", `there is no step "b" in this permutation`, "that is"},
		{s1 + s2 + "permutation a(*, a) b", "5:18", "a step does not run while another of its session does", "another session"},
	} {
		_, err := isolation.Parse("dir/f.spec", []byte(c.text))
		var wrong *isolation.SyntaxError
		require.ErrorAs(t, err, &wrong, c.text)
		message := wrong.Error()
		require.True(t, strings.HasPrefix(message, "dir/f.spec:"+c.position+": "+c.problem), "%s\n%s", c.text, message)
		require.Contains(t, wrong.Try, c.try, c.text)
	}
}

// The caret stands below what is wrong, behind tabs and behind letters of several bytes.
func TestSyntaxErrorShowsWhere(t *testing.T) {
	_, err := isolation.Parse("f.spec", []byte("session s1\n\tstep größe\t= { A }\n"))
	require.EqualError(t, err, "f.spec:2:13: unexpected '='\n"+
		"\tstep größe\t= { A }\n"+
		"\t          \t^\n"+
		`try: put SQL in braces, odd names in quotes, and comments behind "#"`)
}

func TestPrint(t *testing.T) {
	text := `setup { A; }
setup { 
  B }
teardown { C }

session s1
setup { D }
step a { E }
step "permutation" {  }
teardown { F }

session "s ""2"
step "" { G
 }

permutation a(*, "permutation") "permutation"(a notices 3) a
permutation ""
`
	text = strings.Replace(text, `a(*, "permutation") "permutation"(a notices 3) a`, `a(*, "") "permutation" ""(a notices 3)`, 1)
	spec, err := isolation.Parse("f.spec", []byte(text))
	require.NoError(t, err)
	require.Equal(t, strings.Replace(text, "G\n }", "G\n }", 1), spec.String())
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/postgresql/specs/*.spec", "testdata/own/*.spec", "testdata/bench/*.spec"} {
		for _, file := range files(f, pattern) {
			text, err := os.ReadFile(file)
			require.NoError(f, err)
			f.Add(text)
		}
	}
	f.Add([]byte("session \"a\"\"b\" step s { \n\t } permutation s(*) s"))
	f.Fuzz(func(t *testing.T, text []byte) {
		spec, err := isolation.Parse("f.spec", text)
		if err != nil {
			var wrong *isolation.SyntaxError
			require.ErrorAs(t, err, &wrong)
			require.NotEmpty(t, wrong.Error())
			return
		}
		again, err := isolation.Parse("f.spec", []byte(spec.String()))
		require.NoError(t, err, spec.String())
		require.Equal(t, spec, again)
	})
}
