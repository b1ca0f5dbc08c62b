//go:build unix

package target_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/target"
)

// childVariable makes the test program one that starts an application, says which processes it has, and stays until it is killed. Its value is the
// path of a target file and the URL of a database.
const childVariable = "INTERLOCK_TARGET_TEST_CHILD"

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		child(text)
	}
	defer os.RemoveAll(service.dir)
	servertest.Main(m, func() error { return errors.Join(goleak.Find(), os.RemoveAll(service.dir)) })
}

func child(text string) {
	path, database, _ := strings.Cut(text, " ")
	f, err := target.Load(path)
	if err == nil {
		var in race.Instance
		if in, err = f.System().Start(context.Background(), database); err == nil {
			s, err := askSelf(in.(*target.Instance))
			if err == nil {
				json.NewEncoder(os.Stdout).Encode(s.PIDs)
				select {}
			}
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

// service is the application of the tests, built when it is needed first.
var service struct {
	once sync.Once
	dir  string
	err  error
}

// program returns where the application is.
func program(t testing.TB) string {
	t.Helper()
	service.once.Do(func() {
		if service.dir, service.err = os.MkdirTemp("", "interlock-target-"); service.err != nil {
			return
		}
		if out, err := exec.Command("go", "build", "-o", filepath.Join(service.dir, "service"), "./testdata/service").CombinedOutput(); err != nil {
			service.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	require.NoError(t, service.err)
	return filepath.Join(service.dir, "service")
}

const tables = `create table things (id bigserial primary key, name text not null)`

// databaseURL returns a fresh database.
func databaseURL(t testing.TB) (*server.Database, string) {
	t.Helper()
	db := servertest.Database(t, tables)
	return db, withPassword(t, db.DSN())
}

// password is not needed by the server of the tests, and must not be shown by anybody.
const password = "s3cret/? @:"

func withPassword(t testing.TB, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	u.User = url.UserPassword(u.User.Username(), password)
	return u.String()
}

// write returns the path of a target file.
func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "target.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// load returns a target file whose application is that of the tests, with variables of its own, and which goes on with some text.
func load(t testing.TB, environment, rest string) *target.File {
	t.Helper()
	f, err := target.Load(write(t, text(t, environment, rest)))
	require.NoError(t, err)
	return f
}

func text(t testing.TB, environment, rest string) string {
	t.Helper()
	if !strings.Contains("\n"+rest, "\nclients:") {
		rest += "\nclients: [{copies: 2, requests: [{path: /healthz}]}]"
	}
	return fmt.Sprintf(`name: things/test
database: {schema: schema.sql}
application:
  command: [%s]
  environment: {DATABASE_URL: "{{proxy_url}}", PORT: "{{port}}", %s}
  ready: {path: /healthz}
%s
`, program(t), environment, rest)
}

// start starts the application for the time of a test.
func start(t testing.TB, f *target.File, database string) *target.Instance {
	t.Helper()
	in, err := f.System().Start(t.Context(), database)
	require.NoError(t, err)
	t.Cleanup(func() { in.Close(context.Background()) })
	return in.(*target.Instance)
}

// self is what the application says of itself.
type self struct {
	PIDs        []int `json:"pids"`
	Environment []string
}

func askSelf(in *target.Instance) (self, error) {
	var s self
	body, err := get(in, "/self")
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	return s, err
}

// selfOf returns what an application says of itself.
func selfOf(t testing.TB, in *target.Instance) self {
	t.Helper()
	s, err := askSelf(in)
	require.NoError(t, err)
	return s
}

// requireGone waits until processes have ended.
func requireGone(t testing.TB, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		require.Eventually(t, func() bool { return isGone(pid) }, 20*time.Second, 5*time.Millisecond, "process %d", pid)
	}
}

// isGone reports whether a process has ended, though nobody may have waited for it.
func isGone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(content), ") Z ")
}

// startChild runs this program as a child, and returns the processes of the application that it started.
func startChild(t *testing.T, path, database string) (*exec.Cmd, []int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+path+" "+database)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	var pids []int
	require.NoError(t, json.Unmarshal([]byte(line), &pids), line)
	return cmd, pids
}
