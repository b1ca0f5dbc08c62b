package target_test

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/interlock-pg/interlock/harness/target"
)

var rewrite = flag.Bool("rewrite", false, "write the errors that testdata/errors.txtar is to have")

// Each file of the archive is a target file, followed by all that is wrong with it.
func TestErrors(t *testing.T) {
	t.Parallel()
	const path = "testdata/errors.txtar"
	archive, err := txtar.ParseFile(path)
	require.NoError(t, err)
	for i, file := range archive.Files {
		text, want, _ := strings.Cut(string(file.Data), "\n>>>\n")
		_, err := target.Parse(file.Name, []byte(text))
		require.Error(t, err, file.Name)
		var all target.Errors
		require.ErrorAs(t, err, &all, file.Name)
		for _, one := range all {
			require.NotEmpty(t, one.Try, one)
			require.ErrorIs(t, err, error(one))
		}
		if *rewrite {
			archive.Files[i].Data = []byte(text + "\n>>>\n" + err.Error() + "\n")
			continue
		}
		require.Equal(t, strings.TrimSuffix(want, "\n"), err.Error(), file.Name)
	}
	if *rewrite {
		require.NoError(t, os.WriteFile(path, txtar.Format(archive), 0o644))
	}
}

func TestLoadNothing(t *testing.T) {
	t.Parallel()
	_, err := target.Load("testdata/nosuch.yaml")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "try the path of a target file")
	require.False(t, errors.As(err, new(target.Errors)))
}
