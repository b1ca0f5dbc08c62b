package inspectionapi_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/migrations"
)

func TestMain(m *testing.M) {
	servertest.Main(m, func() error {
		if built.goDir != "" {
			if err := os.RemoveAll(built.goDir); err != nil {
				return err
			}
		}
		return goleak.Find()
	})
}

// Versions of the service's own migrations.
const (
	unprotectedSchedules = 3 // with the unique index on open sessions
	protected            = 4 // and with the exclusion constraint on visits
)

var templates = map[int64]func() (*server.Template, error){
	unprotectedSchedules: sync.OnceValues(func() (*server.Template, error) { return migrated(unprotectedSchedules) }),
	protected:            sync.OnceValues(func() (*server.Template, error) { return migrated(protected) }),
}

func migrated(version int64) (*server.Template, error) {
	srv, err := servertest.Shared()
	if err != nil {
		return nil, err
	}
	return srv.Template(context.Background(), func(ctx context.Context, config *pgx.ConnConfig) error {
		set, err := migrations.Open("migrations", migrations.Goose)
		if err != nil {
			return err
		}
		_, err = set.Apply(ctx, config, version)
		return err
	})
}

// program is one of the two services, ready to be started.
type program struct {
	directory string
	words     []string
}

func (p program) command(ctx context.Context, environment ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, p.words[0], p.words[1:]...)
	c.Dir = p.directory
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, environment...)
	return c
}

// built are the services, built once for all tests.
var built struct {
	goOnce              sync.Once
	goDir, goOutput     string
	goErr               error
	nodeOnce            sync.Once
	nodeDir, nodeOutput string
	nodeErr             error
}

// eachService runs a test on the service in Go and, in the slow suite, on the one in TypeScript.
func eachService(t *testing.T, test func(*testing.T, program)) {
	t.Run("go", func(t *testing.T) {
		t.Parallel()
		test(t, goService(t))
	})
	t.Run("node", func(t *testing.T) {
		servertest.Slow(t)
		t.Parallel()
		test(t, nodeService(t))
	})
}

// eachForm runs a test on each form of each service, on a database at a version.
func eachForm(t *testing.T, version int64, test func(*testing.T, *service, string)) {
	eachService(t, func(t *testing.T, program program) {
		for _, form := range forms {
			t.Run(form, func(t *testing.T) {
				t.Parallel()
				test(t, start(t, program, form, version), form)
			})
		}
	})
}

func goService(t *testing.T) program {
	built.goOnce.Do(func() {
		if built.goDir, built.goErr = os.MkdirTemp("", "inspection-api"); built.goErr == nil {
			built.goOutput, built.goErr = output(exec.Command("go", "build", "-o", built.goDir, "./go"))
		}
	})
	require.NoError(t, built.goErr, built.goOutput)
	return program{directory: ".", words: []string{filepath.Join(built.goDir, "go")}}
}

// npmOffline is how npm says that it reached no registry.
var npmOffline = regexp.MustCompile(`npm error (network|code (ENOTFOUND|EAI_AGAIN|ECONN\w+|ETIMEDOUT))`)

func nodeService(t *testing.T) program {
	if _, err := exec.LookPath("npm"); err != nil {
		t.Skipf("there is no npm: %v; try: install Node 20", err)
	}
	built.nodeOnce.Do(func() { built.nodeDir, built.nodeOutput, built.nodeErr = buildNode() })
	if built.nodeErr != nil && npmOffline.MatchString(built.nodeOutput) {
		t.Skipf("npm reaches no registry: %v; try: npm ping", built.nodeErr)
	}
	require.NoError(t, built.nodeErr, built.nodeOutput)
	return program{directory: built.nodeDir, words: []string{"node", "dist/server.js"}}
}

// buildNode builds a copy of the service in the cache of this user, where what it depends on is kept from one run of the tests to the next.
func buildNode() (dir, told string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", "", err
	}
	dir = filepath.Join(cache, "interlock", "inspection-api")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", err
	}
	for _, name := range []string{".npmrc", "package.json", "package-lock.json", "prisma.config.ts", "tsconfig.json"} {
		text, err := os.ReadFile(filepath.Join("node", name))
		if err != nil {
			return "", "", err
		}
		if old, err := os.ReadFile(filepath.Join(dir, name)); err == nil && bytes.Equal(old, text) {
			continue // a newer lock file would have everything installed again
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return "", "", err
		}
	}
	for _, name := range []string{"prisma", "src", "dist"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return "", "", err
		}
		if name == "dist" {
			continue
		}
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join("node", name))); err != nil {
			return "", "", err
		}
	}
	build := exec.Command("npm", "run", "build")
	build.Dir = dir
	told, err = output(build)
	return dir, told, err
}

func output(c *exec.Cmd) (string, error) {
	text, err := c.CombinedOutput()
	return string(text), err
}

// service is a running one, on a database of its own.
type service struct {
	*testing.T
	url      string
	client   *http.Client
	requests sync.WaitGroup
	db       *server.Database
	conn     *pgx.Conn
	process  *exec.Cmd
	exited   chan error
	ended    bool
	output   buffer
}

// start starts a service on a fresh database, and returns when it is ready.
func start(t *testing.T, p program, form string, version int64, environment ...string) *service {
	t.Helper()
	s := prepare(t, version)
	s.run(p, form, environment...)
	return s
}

// prepare makes a database with a device and two inspectors.
func prepare(t *testing.T, version int64) *service {
	t.Helper()
	template, err := templates[version]()
	require.NoError(t, err)
	s := &service{T: t, client: &http.Client{Transport: &http.Transport{}}, exited: make(chan error, 1)}
	s.db, err = template.Database(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.db.Drop(context.Background())) })
	s.conn = s.connect("test")
	s.exec(`insert into aedpics.aed_data (id, equipment_serial) values (1, 'AED-1')`)
	s.exec(`insert into aedpics.user_profiles (id, full_name, role) values ($1, 'Alice', 'inspector'), ($2, 'Bob', 'inspector')`, alice, bob)
	return s
}

// run starts the service on its database.
func (s *service) run(p program, form string, environment ...string) {
	s.Helper()
	port := freePort(s.T)
	s.url = "http://127.0.0.1:" + port
	s.process = p.command(context.Background(), append(environment, "DATABASE_URL="+databaseURL(s.db), "PORT="+port, "FORM="+form)...)
	s.process.Stdout, s.process.Stderr = &s.output, &s.output
	require.NoError(s, s.process.Start())
	go func() { s.exited <- s.process.Wait() }()
	s.Cleanup(func() {
		if !s.ended {
			s.end()
		}
	})
	require.Eventually(s, func() bool {
		answer, err := s.client.Get(s.url + "/healthz")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	}, 30*time.Second, 10*time.Millisecond, "not ready\n%s", &s.output)
}

// end tells the service to end, and requires that it does so well.
func (s *service) end() {
	s.Helper()
	s.ended = true
	s.client.CloseIdleConnections()
	require.NoError(s, s.process.Process.Signal(syscall.SIGTERM))
	require.NoError(s, <-s.exited, &s.output)
	s.requests.Wait()
}

func (s *service) connect(actor string) *pgx.Conn {
	s.Helper()
	conn, err := s.db.Connect(s.Context(), actor)
	require.NoError(s, err)
	s.Cleanup(func() { require.NoError(s, conn.Close(context.Background())) })
	return conn
}

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := listener.Addr().(*net.TCPAddr).Port
	require.NoError(t, listener.Close())
	return strconv.Itoa(port)
}

// databaseURL names the database in the way of libpq, whose host may be the directory of a socket.
func databaseURL(db *server.Database) string {
	c := db.Config("inspection-api")
	u := url.URL{Scheme: "postgres", User: url.UserPassword(c.User, c.Password), Host: "localhost", Path: "/" + c.Database}
	u.RawQuery = url.Values{"host": {c.Host}, "port": {strconv.Itoa(int(c.Port))}, "sslmode": {"disable"}}.Encode()
	return u.String()
}

// buffer may be written and read at the same time.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
