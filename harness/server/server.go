package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Instance is a Postgres that a provider has just got to run, as it hands it to [Open].
type Instance struct {
	Provider string
	Where    string          // for people: a directory, an image, a host; no password
	Admin    *pgx.ConnConfig // a connection that may create databases
	Owned    bool            // started by us and by nobody else's leave: nothing in it is anybody's
	Started  time.Time       // when the provider was called
	// Stop ends it and removes what it left; nil for a server that is not ours.
	Stop func(context.Context) error
}

// Server is a Postgres that answers. Its methods are safe for concurrent use.
type Server struct {
	Provider  string
	Where     string
	Version   int    // server_version_num, as 150018
	Release   string // as "15.18"
	Owned     bool
	Superuser bool
	Ready     time.Duration // from the call of the provider to the first answer

	id      string // of this run, within the names of its databases
	config  *pgx.ConnConfig
	stop    func(context.Context) error
	mu      sync.Mutex // guards admin and next
	admin   *pgx.Conn
	next    int
	stopped sync.Once
	stopErr error
}

// ErrTooOld means that the server is older than [MinVersion].
var ErrTooOld = errors.New("server too old")

// ErrNoCreateDB means that the role may not create databases.
var ErrNoCreateDB = errors.New("role may not create databases")

// Open connects to an instance and checks that it can serve: old enough servers and roles without CREATEDB are refused. On an error the
// instance has been stopped.
func Open(ctx context.Context, in Instance) (_ *Server, err error) {
	if in.Stop == nil {
		in.Stop = func(context.Context) error { return nil }
	}
	s := &Server{Provider: in.Provider, Where: in.Where, Owned: in.Owned, id: newID(), config: in.Admin.Copy(), stop: in.Stop}
	s.config.RuntimeParams["application_name"] = s.applicationName("admin")
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
		}
	}()
	s.admin, err = pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", in.Where, err)
	}
	var createDB bool
	err = s.admin.QueryRow(ctx, `select current_setting('server_version_num')::int, split_part(current_setting('server_version'), ' ', 1),
		rolsuper, rolsuper or rolcreatedb from pg_roles where rolname = current_user`).Scan(&s.Version, &s.Release, &s.Superuser, &createDB)
	if err != nil {
		return nil, fmt.Errorf("asking %s for its version: %w", in.Where, err)
	}
	s.Ready = time.Since(in.Started)
	if s.Version < MinVersion*10000 {
		return nil, fmt.Errorf("%w: %s is PostgreSQL %s, and %d is the oldest supported; try a newer server, or --postgres local",
			ErrTooOld, in.Where, s.Release, MinVersion)
	}
	if !createDB {
		return nil, fmt.Errorf("%w: %s on %s; try: ALTER ROLE %s CREATEDB, or --postgres local",
			ErrNoCreateDB, s.config.User, in.Where, pgx.Identifier{s.config.User}.Sanitize())
	}
	if !s.Owned {
		if err := s.sweep(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Stop drops the databases that were not kept, disconnects, and ends the server if it is ours. Further calls do nothing and return what the
// first returned.
func (s *Server) Stop(ctx context.Context) error {
	s.stopped.Do(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		var errs []error
		if s.admin != nil {
			if !s.Owned {
				err := s.revive(ctx)
				if err == nil {
					err = s.dropAll(ctx, s.id)
				}
				errs = append(errs, err)
			}
			errs = append(errs, s.admin.Close(ctx))
		}
		s.stopErr = errors.Join(append(errs, s.stop(ctx))...)
	})
	return s.stopErr
}

// Config returns how to connect to a database of this server, as actor, which shows in application_name. Without a database, it is the one
// that the server is administered from.
func (s *Server) Config(database, actor string) *pgx.ConnConfig {
	config := s.config.Copy()
	if database != "" {
		config.Database = database
	}
	config.RuntimeParams["application_name"] = s.applicationName(actor)
	return config
}

// exec runs one statement on the administrator's connection.
func (s *Server) exec(ctx context.Context, sql string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.revive(ctx); err != nil {
		return err
	}
	_, err := s.admin.Exec(ctx, sql)
	return err
}

// revive connects the administrator again, if the connection was lost, as with a restart of the server. The caller holds mu.
func (s *Server) revive(ctx context.Context) error {
	if s.admin.Ping(ctx) == nil {
		return nil
	}
	conn, err := pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		return fmt.Errorf("connecting to %s again: %w", s.Where, err)
	}
	s.admin = conn
	return nil
}

// name returns a database name that nobody else uses.
func (s *Server) name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return fmt.Sprintf("interlock_%s_%d", s.id, s.next)
}

func (s *Server) applicationName(actor string) string { return "interlock " + s.id + " " + actor }

func newID() string {
	var b [6]byte
	rand.Read(b[:]) // never fails, says its documentation
	return hex.EncodeToString(b[:])
}

var ourName = regexp.MustCompile(`^interlock_([0-9a-f]{12})_[0-9]+$`)

// sweep drops the databases of runs that ended without doing so. A run is alive as long as a session of it shows in pg_stat_activity, which
// everybody may see.
func (s *Server) sweep(ctx context.Context) error {
	rows, err := s.admin.Query(ctx, `select d.datname from pg_database d join pg_roles r on r.oid = d.datdba and r.rolname = current_user
		where d.datname like 'interlock\_%' and not exists (
			select from pg_stat_activity a where a.application_name like 'interlock ' || split_part(d.datname, '_', 2) || ' %')`)
	if err != nil {
		return fmt.Errorf("looking for databases of earlier runs: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("looking for databases of earlier runs: %w", err)
	}
	done := map[string]bool{}
	for _, name := range names {
		if m := ourName.FindStringSubmatch(name); m != nil && !done[m[1]] {
			done[m[1]] = true
			if err := s.dropAll(ctx, m[1]); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropAll drops the databases of one run. The caller holds mu, or is alone.
func (s *Server) dropAll(ctx context.Context, id string) error {
	rows, err := s.admin.Query(ctx, `select datname from pg_database where datname like $1`, `interlock\_`+id+`\_%`)
	if err != nil {
		return fmt.Errorf("listing databases of run %s: %w", id, err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("listing databases of run %s: %w", id, err)
	}
	var errs []error
	for _, name := range names {
		if _, err := s.admin.Exec(ctx, `drop database if exists `+pgx.Identifier{name}.Sanitize()+` with (force)`); err != nil {
			errs = append(errs, fmt.Errorf("dropping database %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// MaxConnections returns how many connections the server takes from this role at once.
func (s *Server) MaxConnections(ctx context.Context) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var most int
	err := s.admin.QueryRow(ctx, `select least(current_setting('max_connections')::int - case when rolsuper then 0 else current_setting('superuser_reserved_connections')::int end,
		nullif(rolconnlimit, -1)) from pg_roles where rolname = current_user`).Scan(&most)
	if err != nil {
		return 0, fmt.Errorf("asking for max_connections: %w", err)
	}
	return most, nil
}
