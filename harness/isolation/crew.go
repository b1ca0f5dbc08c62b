package isolation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/sync/errgroup"

	"github.com/interlock-pg/interlock/harness/server"
)

// crew is what runs the permutations of a spec, one after another: connections to one database, for as long as there are any to run.
type crew struct {
	spec     *Spec
	control  *backend // for setup and teardown, and to look at the others
	sessions []*session
	steps    map[string]*session // by the steps' names
	config   Config
	db       *server.Database

	shortcuts
	set bool // what the setup creates is there
}

// session is a session of the spec.
type session struct {
	*backend
	spec          Session
	steps         map[string]Step
	timed         bool                             // its waits may end by themselves: it sets a timeout somewhere
	active        *launch                          // its step, until that is reported as complete; nil: none
	notices       int                              // that were printed
	notifications []*pgproto3.NotificationResponse // that come with the step
	waited        map[string]bool                  // the steps that were seen to wait
	begins        map[string]bool                  // the messages that may be postponed
}

// isBlocked asks whether the backend $1 waits for a lock that one of the spec's sessions has.
const isBlocked = "is_blocked"

// enlist makes a database and opens the connections of a spec to it.
func (t *Tester) enlist(ctx context.Context, at place, spec Named, may shortcuts) (_ *crew, err error) {
	c := &crew{spec: spec.Spec, config: t.config, steps: map[string]*session{}, shortcuts: may}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close(context.WithoutCancel(ctx)))
		}
	}()
	if err := ctx.Err(); err != nil {
		return c, err
	}
	if c.db, err = at.empty.Database(context.WithoutCancel(ctx)); err != nil { // half done, it would take the server's connection with it
		return c, err
	}
	if strings.Contains(spec.String(), suiteDatabase) && at.server.Owned {
		if err := rename(ctx, at.server, c.db); err != nil {
			return c, err
		}
	}
	open := func(ctx context.Context, session string, statements map[string]string) (*backend, error) {
		connection := c.db.Config(session)
		for setting, value := range settings(at.server.Superuser) {
			connection.RuntimeParams[setting] = value
		}
		connection.RuntimeParams["application_name"] = "isolation/" + spec.Name + "/" + session
		return connect(ctx, connection, session, statements)
	}
	var all errgroup.Group
	c.sessions = make([]*session, len(spec.Sessions))
	timed := setsTimeout(slices.Concat(spec.Setups, []string{spec.Teardown})...)
	for i, s := range spec.Sessions {
		made := &session{spec: s, steps: map[string]Step{}, timed: timed || setsTimeout(s.blocks()...), waited: map[string]bool{}}
		if may.separable {
			made.begins = s.begins()
		}
		c.sessions[i] = made
		for _, step := range s.Steps {
			made.steps[step.Name] = step
			c.steps[step.Name] = made
		}
		all.Go(func() (err error) {
			made.backend, err = open(ctx, s.Name, nil)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return c, err
	}
	pids := make([]string, len(c.sessions))
	for i, s := range c.sessions {
		pids[i] = fmt.Sprint(s.pid)
	}
	probe := "SELECT pg_catalog.pg_isolation_test_session_is_blocked($1, '{" + strings.Join(pids, ",") + "}')"
	c.control, err = open(ctx, "control connection", map[string]string{isBlocked: probe})
	return c, err
}

// suiteDatabase is what pg_isolation_regress calls its database. A spec of the suite names it.
const suiteDatabase = "isolation_regression"

// rename calls the database what PostgreSQL's suite calls it.
func rename(ctx context.Context, srv *server.Server, db *server.Database) error {
	conn, err := pgx.ConnectConfig(ctx, srv.Config("", "isolation"))
	if err != nil {
		return fmt.Errorf("renaming database %s: %w", db.Name, err)
	}
	_, err = conn.Exec(ctx, "ALTER DATABASE "+pgx.Identifier{db.Name}.Sanitize()+" RENAME TO "+suiteDatabase)
	if err == nil {
		db.Name = suiteDatabase
	}
	return errors.Join(err, conn.Close(ctx))
}

// close ends the connections and drops the database.
func (c *crew) close(ctx context.Context) error {
	var all []*backend
	for _, s := range c.sessions {
		if s != nil && s.backend != nil {
			all = append(all, s.backend)
		}
	}
	if c.control != nil {
		all = append(all, c.control)
	}
	for _, b := range all {
		b.leave()
	}
	var errs []error
	for _, b := range all {
		errs = append(errs, b.close())
	}
	if c.db != nil {
		errs = append(errs, c.db.Drop(ctx))
	}
	return errors.Join(errs...)
}

// blocks returns all SQL of the session.
func (s Session) blocks() []string {
	blocks := []string{s.Setup, s.Teardown}
	for _, step := range s.Steps {
		blocks = append(blocks, step.SQL)
	}
	return blocks
}

// settings are those of the environment in which pg_isolation_regress runs a spec, and PostgreSQL's defaults where our own servers have others.
func settings(superuser bool) map[string]string {
	s := map[string]string{
		"TimeZone": "PST8PDT", "DateStyle": "Postgres, MDY", "IntervalStyle": "postgres_verbose", "bytea_output": "hex",
		"lc_monetary": "C", "lc_numeric": "C", "lc_time": "C", "timezone_abbreviations": "Default",
	}
	if superuser {
		s["lc_messages"], s["deadlock_timeout"], s["log_lock_waits"] = "C", "1s", "off"
	}
	return s
}
