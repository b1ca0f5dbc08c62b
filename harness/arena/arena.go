package arena

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server"
)

// Arena is a database with the connections that races are run on. It is used by one goroutine, and Control and Watcher by one each.
type Arena struct {
	Database *server.Database
	Control  *pgx.Conn // puts starting rows in place, judges at rest
	Watcher  *pgx.Conn // looks on while clients run

	keeper    *pgx.Conn // resets, which makes a session forget its plans
	configure func(*pgx.ConnConfig)
	clients   []seat
}

// seat is the connection of one client, with the settings that the last scenario gave it.
type seat struct {
	conn     *pgx.Conn
	settings map[string]string
}

// Open connects to a database of our own. Connections of clients are made as configure says; nil: like all others.
func Open(ctx context.Context, db *server.Database, configure func(*pgx.ConnConfig)) (*Arena, error) {
	a := &Arena{Database: db, configure: configure}
	for actor, conn := range map[string]**pgx.Conn{"keeper": &a.keeper, "control": &a.Control, "watcher": &a.Watcher} {
		var err error
		if *conn, err = db.Connect(ctx, actor); err != nil {
			return nil, errors.Join(err, a.Close(ctx))
		}
	}
	if _, err := a.Control.Exec(ctx, race.OutcomesTable); err != nil {
		return nil, errors.Join(fmt.Errorf("making the table of outcomes: %w", err), a.Close(ctx))
	}
	return a, nil
}

// Close disconnects from the database, which stays.
func (a *Arena) Close(ctx context.Context) error {
	var errs []error
	for _, conn := range a.connections() {
		errs = append(errs, conn.Close(ctx))
	}
	return errors.Join(errs...)
}

func (a *Arena) connections() []*pgx.Conn {
	var all []*pgx.Conn
	for _, s := range a.clients {
		all = append(all, s.conn)
	}
	return slices.DeleteFunc(append(all, a.Watcher, a.Control, a.keeper), func(conn *pgx.Conn) bool { return conn == nil })
}

// Prepare puts the rows back to what the template had, and the starting rows of the scenario in their place.
func (a *Arena) Prepare(ctx context.Context, s race.Scenario) error {
	if err := a.Database.Reset(ctx, a.keeper); err != nil {
		return err
	}
	if s.Start != nil {
		if err := s.Start(ctx, a.Control); err != nil {
			return fmt.Errorf("starting rows: %w", err)
		}
	}
	return nil
}

// Seats returns a connection for each client, with its settings.
func (a *Arena) Seats(ctx context.Context, clients []race.Client) ([]*pgx.Conn, error) {
	conns := make([]*pgx.Conn, len(clients))
	for i, client := range clients {
		conn, err := a.seat(ctx, i, client)
		if err != nil {
			return nil, err
		}
		conns[i] = conn
	}
	return conns, nil
}

func (a *Arena) seat(ctx context.Context, n int, client race.Client) (*pgx.Conn, error) {
	if n == len(a.clients) {
		a.clients = append(a.clients, seat{})
	}
	s := &a.clients[n]
	if s.conn == nil || s.conn.IsClosed() {
		config := a.Database.Config(fmt.Sprintf("client %d", n+1))
		if a.configure != nil {
			a.configure(config)
		}
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return nil, fmt.Errorf("connecting client %s: %w", client.Name, err)
		}
		*s = seat{conn: conn}
	}
	if maps.Equal(s.settings, client.Settings) {
		return s.conn, nil
	}
	batch := &pgx.Batch{}
	batch.Queue(`reset all`)
	for _, name := range slices.Sorted(maps.Keys(client.Settings)) {
		batch.Queue(`select set_config($1, $2, false)`, name, client.Settings[name])
	}
	if err := s.conn.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("settings %v of client %s: %w", client.Settings, client.Name, err)
	}
	s.settings = client.Settings
	return s.conn, nil
}

// Abandon ends the sessions of clients that hang, on the server's side, so that their locks are in nobody's way, and forgets their
// connections, which they may still use.
func (a *Arena) Abandon(ctx context.Context, hung []int) error {
	for _, i := range hung {
		pid := a.clients[i].conn.PgConn().PID()
		a.clients[i] = seat{}
		if _, err := a.Control.Exec(ctx, `select pg_terminate_backend($1)`, int32(pid)); err != nil {
			return fmt.Errorf("ending the session of a client that hangs: %w", err)
		}
	}
	return nil
}
