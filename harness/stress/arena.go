package stress

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

// Arena is a database with the connections that rounds are played on. It is used by one goroutine.
type Arena struct {
	db      *server.Database
	keeper  *pgx.Conn // resets, which makes a session forget its plans
	control *pgx.Conn // puts starting rows in place, judges at rest
	watcher *pgx.Conn // looks at the invariants while clients run
	clients []seat
}

// seat is the connection of one client, with the settings that the last scenario gave it.
type seat struct {
	conn     *pgx.Conn
	settings map[string]string
}

// Open connects to a database of our own.
func Open(ctx context.Context, db *server.Database) (*Arena, error) {
	a := &Arena{db: db}
	for actor, conn := range map[string]**pgx.Conn{"keeper": &a.keeper, "control": &a.control, "watcher": &a.watcher} {
		var err error
		if *conn, err = db.Connect(ctx, actor); err != nil {
			return nil, errors.Join(err, a.Close(ctx))
		}
	}
	if _, err := a.control.Exec(ctx, race.OutcomesTable); err != nil {
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
	return slices.DeleteFunc(append(all, a.watcher, a.control, a.keeper), func(conn *pgx.Conn) bool { return conn == nil })
}

// seat returns the connection for the n-th client, connected and with its settings.
func (a *Arena) seat(ctx context.Context, n int, client race.Client) (*pgx.Conn, error) {
	if n == len(a.clients) {
		a.clients = append(a.clients, seat{})
	}
	s := &a.clients[n]
	if s.conn == nil || s.conn.IsClosed() {
		conn, err := a.db.Connect(ctx, fmt.Sprintf("client %d", n+1))
		if err != nil {
			return nil, err
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
