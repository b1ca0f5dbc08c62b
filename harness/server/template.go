package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/internal/pause"
)

// Template is a database in a prepared state, to be cloned.
type Template struct {
	server *Server
	name   string
	reset  resetPlan
}

// Template creates a database and has prepare bring it to the state that its clones start from, typically by applying migrations. prepare
// must close the connections that it opens.
func (s *Server) Template(ctx context.Context, prepare func(context.Context, *pgx.ConnConfig) error) (*Template, error) {
	return s.TemplateOf(ctx, "", prepare)
}

// TemplateOf is Template, but the database begins as a copy of another one of the server, with the rows and sequences in it; empty: as an empty one. That
// one is not written to. As long as it is being copied, nobody may be connected to it. Nil for prepare: there is nothing to be done.
func (s *Server) TemplateOf(ctx context.Context, database string, prepare func(context.Context, *pgx.ConnConfig) error) (_ *Template, err error) {
	t := &Template{server: s, name: s.name()}
	if err := s.create(ctx, t.name, cmp.Or(database, blank)); err != nil {
		if database != "" {
			err = s.uncopied(database, err)
		}
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.drop(context.WithoutCancel(ctx), t.name))
		}
	}()
	config := s.Config(t.name, "migrations")
	if prepare != nil {
		if err := prepare(ctx, config); err != nil {
			return nil, err
		}
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", t.name, err)
	}
	if t.reset, err = planReset(ctx, conn, s.Superuser); hasCode(err, "42501") {
		err = fmt.Errorf("%w; try --postgres DSN with the role that owns the tables, or with a superuser", err)
	}
	return t, errors.Join(err, conn.Close(ctx))
}

// uncopied says why a database could not be copied, and what to do about that.
func (s *Server) uncopied(database string, err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return fmt.Errorf("copying database %s: %w", database, err)
	}
	try := ""
	switch {
	case hasCode(err, "3D000") && s.Owned: // invalid_catalog_name
		try = "; try --postgres DSN of the server that it is on: this one was started a moment ago"
	case hasCode(err, "3D000"):
		try = fmt.Sprintf("; try the name of a database of %s, or --postgres DSN of the server that it is on", s.Where)
	case isInUse(err):
		try = "; try ending whatever uses it, or the name of a copy that nobody uses, as createdb --template makes one"
	case hasCode(err, "42501"): // insufficient_privilege
		try = fmt.Sprintf("; try ALTER DATABASE %s IS_TEMPLATE true, or a role that owns it", pgx.Identifier{database}.Sanitize())
	}
	return fmt.Errorf("copying database %s: %w%s%s", database, pg, detail(pg), try)
}

// detail returns what the server added to a message, in brackets; empty: nothing.
func detail(pg *pgconn.PgError) string {
	if pg.Detail == "" {
		return ""
	}
	return " (" + pg.Detail + ")"
}

// Blank returns the empty template that every server has, for [Template.Extend]. It is not ours to drop.
func (s *Server) Blank() *Template { return &Template{server: s, name: blank} }

const blank = "template0"

// Extend creates a template that starts from this one and has prepare bring it further. Nothing but what prepare does is put into it, so its clones
// hold what the user's own database would hold; they cannot be Reset. prepare must close the connections that it opens.
func (t *Template) Extend(ctx context.Context, prepare func(context.Context, *pgx.ConnConfig) error) (*Template, error) {
	d, err := t.Database(ctx)
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, d.Config("migrations")); err != nil {
		return nil, errors.Join(err, d.Drop(context.WithoutCancel(ctx)))
	}
	return &Template{server: t.server, name: d.Name}, nil
}

// Server returns the server that it is on.
func (t *Template) Server() *Server { return t.server }

// Drop removes the template, unless it is the server's blank one. Its clones stay.
func (t *Template) Drop(ctx context.Context) error {
	if t.name == blank {
		return nil
	}
	return t.server.drop(ctx, t.name)
}

// Database clones the template.
func (t *Template) Database(ctx context.Context) (*Database, error) {
	d := &Database{Name: t.server.name(), server: t.server, reset: t.reset}
	if err := t.server.create(ctx, d.Name, t.name); err != nil {
		return nil, err
	}
	return d, nil
}

// Database is a fresh database of our own. A Database is used by one goroutine at a time, its connections by one each.
type Database struct {
	Name   string
	server *Server
	reset  resetPlan
	resets int
}

// Config returns how to connect to the database as actor, which shows in application_name.
func (d *Database) Config(actor string) *pgx.ConnConfig { return d.server.Config(d.Name, actor) }

// Connect opens a connection as actor.
func (d *Database) Connect(ctx context.Context, actor string) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, d.Config(actor))
	if err != nil {
		return nil, fmt.Errorf("connecting %s to %s: %w", actor, d.Name, err)
	}
	return conn, nil
}

// Reset puts the rows and sequences of the database back to what the template had, on a connection to it. Nobody else may be writing.
// It does not undo changes of the schema.
func (d *Database) Reset(ctx context.Context, conn *pgx.Conn) error {
	d.resets++
	if _, err := conn.Exec(ctx, d.reset.sql(d.resets), pgx.QueryExecModeSimpleProtocol); err != nil {
		try := ""
		if !IsTrouble(err) && !d.server.Superuser {
			try = "; try a superuser, in whose way there are no foreign keys and permissions when rows are put back"
		}
		return fmt.Errorf("resetting %s: %w%s", d.Name, err, try)
	}
	return nil
}

// Drop removes the database and whoever is connected to it.
func (d *Database) Drop(ctx context.Context) error { return d.server.drop(ctx, d.Name) }

// Keep renames the database, so that it outlives the run, and returns a DSN for it without the password. It is of use on a server that
// outlives the run as well; nobody may be connected.
func (d *Database) Keep(ctx context.Context) (string, error) {
	kept := strings.Replace(d.Name, "interlock_", "interlock_kept_", 1)
	if err := d.server.exec(ctx, `alter database `+pgx.Identifier{d.Name}.Sanitize()+` rename to `+pgx.Identifier{kept}.Sanitize()); err != nil {
		return "", fmt.Errorf("keeping %s: %w", d.Name, err)
	}
	d.Name = kept
	return d.DSN(), nil
}

// DSN returns a URL of the database for people to paste, without the password.
func (d *Database) DSN() string {
	config := d.server.config
	u := url.URL{Scheme: "postgres", User: url.User(config.User), Path: "/" + d.Name}
	if strings.HasPrefix(config.Host, "/") {
		u.RawQuery = url.Values{"host": {config.Host}, "port": {fmt.Sprint(config.Port)}}.Encode()
	} else {
		u.Host = fmt.Sprintf("%s:%d", config.Host, config.Port)
	}
	return u.String()
}

func (s *Server) create(ctx context.Context, name, template string) error {
	sql := `create database ` + pgx.Identifier{name}.Sanitize() + ` template ` + pgx.Identifier{template}.Sanitize()
	if s.Version >= 150000 && s.Owned { // without fsync, copying files is several times faster than writing the copy to the log
		sql += ` strategy file_copy`
	}
	err := s.exec(ctx, sql)
	for try := 0; isInUse(err) && ourName.MatchString(template) && try < 50; try++ { // a session of ours that has not quite gone; Postgres has waited 5 s for it
		if err := pause.For(ctx, 10*time.Millisecond); err != nil {
			return err
		}
		err = s.exec(ctx, sql)
	}
	if err != nil {
		return fmt.Errorf("creating database %s: %w", name, err)
	}
	return nil
}

func (s *Server) drop(ctx context.Context, name string) error {
	if err := s.exec(ctx, `drop database if exists `+pgx.Identifier{name}.Sanitize()+` with (force)`); err != nil {
		return fmt.Errorf("dropping database %s: %w", name, err)
	}
	return nil
}

// isInUse: object_in_use.
func isInUse(err error) bool { return hasCode(err, "55006") }

func hasCode(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}
