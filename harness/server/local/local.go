//go:build unix

package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/server"
)

const (
	superuser = "postgres"
	port      = 5432 // of the socket; there is no other server in its directory
)

// Provider runs a server from installed binaries.
type Provider struct{}

// Name returns "local".
func (Provider) Name() string { return "local" }

// Start runs a server of the version that config wants, or else the newest there is.
func (p Provider) Start(ctx context.Context, config server.Config) (*server.Server, error) {
	return Launch(ctx, p.Name(), time.Now(), config)
}

// Launch is Start on behalf of another provider, which was called at started and has put binaries where config lets them be found.
func Launch(ctx context.Context, provider string, started time.Time, config server.Config) (_ *server.Server, err error) {
	as, err := unprivileged()
	if err != nil {
		return nil, &server.UnavailableError{Provider: provider, Why: "root may not run Postgres", Err: err, Try: "run as another user, or create a user postgres"}
	}
	binaries, err := choose(ctx, provider, config, as)
	if err != nil {
		return nil, err
	}
	run, err := newRun(as, func(dir string) []string { return command(binaries, config, dir) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", provider, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, run.stop(context.WithoutCancel(ctx)))
		}
	}()
	if err := prepareCluster(ctx, config, binaries, as, run); err != nil {
		return nil, fmt.Errorf("%s: preparing a cluster of PostgreSQL %s: %w", provider, binaries.Version, err)
	}
	if err := run.start(ctx); err != nil {
		return nil, fmt.Errorf("%s: starting PostgreSQL %s of %s: %w", provider, binaries.Version, binaries.BinDir, err)
	}
	admin, err := connection(run.dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", provider, err)
	}
	config.Logf("%s: PostgreSQL %s of %s runs in %s", provider, binaries.Version, binaries.BinDir, run.dir)
	return server.Open(ctx, server.Instance{Provider: provider, Where: run.dir, Admin: admin, Owned: true, Started: started, Stop: run.stop})
}

// command returns the command line of the server in the private directory dir. Of two settings of one name the last one counts: the user's
// are stronger than ours, save for those that say where the server is.
func command(binaries Installation, config server.Config, dir string) []string {
	args := []string{
		filepath.Join(binaries.BinDir, "postgres"), "-D", dataOf(dir),
		"-c", "listen_addresses=",
		"-c", "dynamic_shared_memory_type=mmap", // files in the private directory, which cannot be left behind
		"-c", "max_wal_size=256MB", // initdb makes it 64 segments, which are small here
	}
	args = append(args, config.Arguments()...)
	return append(args, "-c", "unix_socket_directories="+dir, "-c", fmt.Sprintf("port=%d", port))
}

// connection returns how to connect to the server in dir, whatever the PG… variables of the environment say.
func connection(dir string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig("sslmode=disable target_session_attrs=any user=" + superuser + " dbname=postgres")
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", dir, err)
	}
	config.Host, config.Port, config.Password = dir, port, ""
	config.TLSConfig, config.Fallbacks = nil, nil
	config.RuntimeParams = map[string]string{}
	return config, nil
}
