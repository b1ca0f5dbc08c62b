package arena

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/internal/pause"
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
	hosted    *Application  // nil: none
	patience  time.Duration // see [Arena.Patience]; 0: without end

	checkpointer int32 // the process of the server that a crash replaces; 0: it is not known
}

// seat is the connection of one client, with the settings that the last scenario gave it.
type seat struct {
	conn     *pgx.Conn
	settings map[string]string
}

// Open connects to a database of our own. Connections of clients are made as configure says; nil: like all others.
func Open(ctx context.Context, db *server.Database, configure func(*pgx.ConnConfig)) (*Arena, error) {
	a := &Arena{Database: db, configure: configure}
	if err := a.connect(ctx); err != nil {
		return nil, errors.Join(err, a.Close(ctx))
	}
	return a, nil
}

// connect makes the connections that are not clients'.
func (a *Arena) connect(ctx context.Context) (err error) {
	a.patience = 0
	if a.Control, err = a.Database.Connect(ctx, "control"); err != nil {
		return err
	}
	if err := a.Control.QueryRow(ctx, `select coalesce(max(pid), 0) from pg_stat_activity where backend_type = 'checkpointer'`).Scan(&a.checkpointer); err != nil {
		return fmt.Errorf("reading pg_stat_activity: %w", err)
	}
	if a.keeper, err = a.Database.Connect(ctx, "keeper"); err != nil {
		return err
	}
	if a.Watcher, err = a.Database.Connect(ctx, "watcher"); err != nil {
		return err
	}
	if _, err := a.Control.Exec(ctx, race.OutcomesTable); err != nil {
		return fmt.Errorf("making the table of outcomes: %w", err)
	}
	return nil
}

// Patience has the connections that are not clients' wait for a lock no longer than that; by default, they wait for ever.
func (a *Arena) Patience(ctx context.Context, limit time.Duration) error {
	if a.patience == limit {
		return nil
	}
	for _, conn := range []*pgx.Conn{a.keeper, a.Control, a.Watcher} {
		if _, err := conn.Exec(ctx, `select set_config('lock_timeout', $1, false)`, fmt.Sprint(max(limit.Milliseconds(), 1))); err != nil {
			return fmt.Errorf("setting lock_timeout: %w", err)
		}
	}
	a.patience = limit
	return nil
}

// Reconnect makes the connections that are not clients' anew, after a crash of the server, as soon as that has recovered: until it has noticed the
// crash, it takes connections that it is about to end. It tries for a minute.
func (a *Arena) Reconnect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	crashed := a.checkpointer
	for {
		for _, conn := range []*pgx.Conn{a.keeper, a.Control, a.Watcher} {
			if conn != nil {
				_ = conn.Close(ctx) // it is lost
			}
		}
		err := a.connect(ctx)
		if err == nil && (a.checkpointer == crashed || a.checkpointer == 0) {
			err = errors.New("the server has not crashed; try another fault")
		}
		if err == nil || pause.For(ctx, time.Millisecond) != nil {
			return err
		}
	}
}

// Close disconnects from the database, which stays.
func (a *Arena) Close(ctx context.Context) error {
	_, err := a.Host(ctx, race.Scenario{})
	errs := []error{err}
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
	if err := a.Reset(ctx); err != nil {
		return err
	}
	return a.Start(ctx, s)
}

// Reset puts the rows back to what the template had.
func (a *Arena) Reset(ctx context.Context) error {
	return a.Database.Reset(ctx, a.keeper)
}

// Start puts the starting rows of the scenario in place.
func (a *Arena) Start(ctx context.Context, s race.Scenario) error {
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

// Unseat closes the connections of clients; others are made when they are needed.
func (a *Arena) Unseat(ctx context.Context) error {
	var errs []error
	for _, s := range a.clients {
		if s.conn != nil {
			errs = append(errs, s.conn.Close(ctx))
		}
	}
	a.clients = nil
	return errors.Join(errs...)
}

// Abandon ends the sessions of clients that hang, on the server's side, so that their locks are in nobody's way, and forgets their
// connections, which they may still use. An application is ended, which may still be at what they asked for, and will be started anew.
func (a *Arena) Abandon(ctx context.Context, hung []int) error {
	if a.hosted != nil {
		hosted := a.hosted
		a.hosted = nil
		return hosted.Close(context.WithoutCancel(ctx))
	}
	for _, i := range hung {
		pid := a.clients[i].conn.PgConn().PID()
		a.clients[i] = seat{}
		if _, err := a.Control.Exec(ctx, `select pg_terminate_backend($1)`, int32(pid)); err != nil {
			return fmt.Errorf("ending the session of a client that hangs: %w", err)
		}
	}
	return nil
}
