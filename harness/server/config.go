package server

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// MinVersion is the oldest major version that is supported.
const MinVersion = 13

// Config says what Postgres is wanted. The zero value asks for any supported one.
type Config struct {
	// Version is the major version wanted, as 16. Zero: any; the newest where there is a choice.
	Version int

	// DSN is a connection string (URL or key=value) of an existing server; used by dsn, and by auto before all else.
	DSN string

	// BinDir is a directory with initdb and postgres, used by local instead of searching. Empty: search.
	BinDir string

	// Image is the Docker image. Empty: "postgres:<Version>-alpine", 17 where Version is zero.
	Image string

	// RepositoryURL is where embedded downloads binaries from. Empty: the library's default.
	RepositoryURL string

	// CacheDir holds initialised clusters and downloaded binaries; it is shared safely by parallel processes.
	// Empty: "interlock" in the user's cache directory; for root, where $XDG_CACHE_HOME is unset, /var/cache/interlock.
	CacheDir string

	// Settings are server settings on top of [TestSettings], by name.
	Settings map[string]string

	// Log receives one line of progress at a time, such as which way was taken and why others were not. Nil: none.
	Log func(line string)
}

// Logf writes one line to Log, if there is one.
func (c Config) Logf(format string, args ...any) {
	if c.Log != nil {
		c.Log(fmt.Sprintf(format, args...))
	}
}

// rootCache is the default of CacheDir for root. The server does not run as root, and programs below /root are out of reach for others.
const rootCache = "/var/cache/interlock"

// Cache returns the directory named by parts below CacheDir, without creating it.
func (c Config) Cache(parts ...string) (string, error) {
	root := c.CacheDir
	if root == "" && os.Geteuid() == 0 && os.Getenv("XDG_CACHE_HOME") == "" {
		root = rootCache
	}
	if root == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			user = filepath.Join(os.TempDir(), fmt.Sprintf("cache-%d", os.Getuid()))
		}
		root = filepath.Join(user, "interlock")
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return "", fmt.Errorf("cache directory: %w", err)
	}
	return filepath.Join(append([]string{root}, parts...)...), nil
}

// TestSettings are the settings of every server that we start: nothing in it has to survive a crash, and nothing runs in the background
// that would change what a race does from one time to the next.
func TestSettings() map[string]string {
	return map[string]string{
		"fsync":                               "off",
		"synchronous_commit":                  "off",
		"full_page_writes":                    "off",
		"wal_level":                           "minimal",
		"max_wal_senders":                     "0",
		"autovacuum":                          "off",
		"jit":                                 "off",
		"shared_buffers":                      "64MB",
		"max_connections":                     strconv.Itoa(max(120, 40*runtime.GOMAXPROCS(0))), // applications have pools, and one is explored on each core
		"deadlock_timeout":                    "10ms",
		"log_lock_waits":                      "on",
		"log_min_messages":                    "warning",
		"logging_collector":                   "off",
		"timezone":                            "UTC",
		"log_timezone":                        "UTC",
		"lc_messages":                         "C",
		"max_prepared_transactions":           "20",
		"checkpoint_timeout":                  "1d",
		"track_activity_query_size":           "4096",
		"idle_in_transaction_session_timeout": "0",
	}
}

// Arguments returns TestSettings and c.Settings as arguments of the postgres program, in a fixed order.
func (c Config) Arguments() []string {
	settings := TestSettings()
	maps.Copy(settings, c.Settings)
	var args []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// Provider is one way to get a Postgres.
type Provider interface {
	// Name is the word that selects it, as "local".
	Name() string

	// Start gets a Postgres that answers. When this way cannot work on this machine, the error is an [*UnavailableError]. Whatever it
	// starts ends with [Server.Stop], and with this process, however that ends.
	Start(ctx context.Context, config Config) (*Server, error)
}

// UnavailableError says that a way to get a Postgres does not work here.
type UnavailableError struct {
	Provider string
	Why      string // what was looked for and not found
	Try      string // what to do about it
	Err      error  // what stopped it, if there is more to say
}

func (e *UnavailableError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Provider, e.Why)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Try != "" {
		fmt.Fprintf(&b, "; try: %s", e.Try)
	}
	return b.String()
}

func (e *UnavailableError) Unwrap() error { return e.Err }
