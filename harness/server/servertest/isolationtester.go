package servertest

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Isolationtester returns where PostgreSQL's own tool is. Where it is not, the test is skipped.
func Isolationtester(t testing.TB) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/lib/pgxs/src/test/isolation/isolationtester")
	require.NoError(t, err)
	if len(found) > 0 {
		return found[len(found)-1]
	}
	program, err := exec.LookPath("isolationtester")
	if err != nil {
		t.Skipf("there is no isolationtester: %v; try: apt-get install postgresql-client-15", err)
	}
	return program
}
