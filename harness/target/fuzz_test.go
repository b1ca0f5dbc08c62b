package target_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/target"
)

// FuzzParse: reading never panics; what is wrong has a place within the text; what is right can be made a workload, and its inputs survive a file.
func FuzzParse(f *testing.F) {
	archive, err := txtar.ParseFile("testdata/errors.txtar")
	require.NoError(f, err)
	for _, file := range archive.Files {
		text, _, _ := strings.Cut(string(file.Data), "\n>>>\n")
		f.Add([]byte(text))
	}
	valid, err := filepath.Glob("testdata/valid/*.yaml")
	require.NoError(f, err)
	for _, path := range valid {
		text, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := target.Parse("f.yaml", text)
		if err != nil {
			var all target.Errors
			require.ErrorAs(t, err, &all)
			lines := strings.Split(string(text), "\n")
			for _, one := range all {
				require.Positive(t, one.Line)
				require.LessOrEqual(t, one.Line, len(lines))
				require.Positive(t, one.Column)
				require.LessOrEqual(t, one.Column, len([]rune(one.Text))+1)
				require.NotEmpty(t, one.Problem)
				require.NotEmpty(t, one.Try)
				require.NotEmpty(t, one.Error())
			}
			return
		}
		known := map[string]race.Invariant{}
		for _, inv := range file.Invariants {
			known[inv.Use] = race.Invariant{Name: inv.Use}
		}
		w, err := file.Workload(known)
		require.NoError(t, err)
		in, err := w.Generate(1)
		require.NoError(t, err)
		again, err := w.Decode(in.JSON())
		require.NoError(t, err)
		require.JSONEq(t, string(in.JSON()), string(again.JSON()))
		require.NotEmpty(t, w.Scenario(again).Clients)
	})
}
