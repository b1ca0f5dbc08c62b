package drivers_test

import (
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/wire/wiretest"
)

// TestJDBC: JDBC is told the same directly and through the proxy, in each of its modes. The driver is where INTERLOCK_TEST_JDBC says, and must be there, or
// where Debian puts it.
func TestJDBC(t *testing.T) {
	servertest.Slow(t)
	jar, wanted := os.LookupEnv("INTERLOCK_TEST_JDBC")
	if !wanted {
		jar = "/usr/share/java/postgresql.jar"
	}
	java, err := exec.LookPath("java")
	if _, missing := os.Stat(strings.Split(jar, ":")[0]); err != nil || missing != nil {
		require.False(t, wanted, "%v, %v", err, missing)
		t.Skip("there is no Java, or no JDBC driver; try: apt-get install default-jre-headless libpostgresql-jdbc-java")
	}
	program := []string{"-cp", jar, "testdata/java/Talk.java"}
	if compiler, err := exec.LookPath("javac"); err == nil { // once, instead of every time
		classes := t.TempDir()
		said, err := exec.CommandContext(t.Context(), compiler, "-cp", jar, "-d", classes, "testdata/java/Talk.java").CombinedOutput()
		require.NoError(t, err, "%s", said)
		program = []string{"-cp", jar + string(os.PathListSeparator) + classes, "Talk"}
	}
	for _, mode := range []string{"simple", "extended", "extendedForPrepared", "extendedCacheEverything"} {
		t.Run(mode, func(t *testing.T) {
			alike(t, 25, wiretest.Same, func(dsn string) *exec.Cmd {
				u, err := url.Parse(dsn)
				require.NoError(t, err)
				password, _ := u.User.Password()
				query := u.Query()
				query.Set("user", u.User.Username())
				query.Set("password", password)
				query.Set("preferQueryMode", mode)
				return exec.CommandContext(t.Context(), java, append(program[:len(program):len(program)], "jdbc:postgresql://"+u.Host+u.Path+"?"+query.Encode())...)
			})
		})
	}
}
