package arena

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/proxy"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/wire"
)

// Application is a [race.System] that has been started, on a database of ours and behind a proxy.
type Application struct {
	System   race.System
	Habits   race.Habits // with its defaults
	Instance race.Instance

	proxy *proxy.Proxy
}

// defaultSettle is how long an application may think by default.
const defaultSettle = 500 * time.Millisecond

// DefaultDelay is how long a step is on its way that is delayed, by default.
const DefaultDelay = time.Second

// Habits returns those of a system, with their defaults.
func Habits(of race.System) race.Habits {
	h := of.Habits()
	h.Settle = cmp.Or(h.Settle, defaultSettle)
	h.Delay = cmp.Or(h.Delay, DefaultDelay)
	return h
}

// Launch starts a system. The gate stands on all its sessions, which have the settings given.
func Launch(ctx context.Context, s race.System, db *server.Database, gate *wire.Gate, settings map[string]string) (*Application, error) {
	a := &Application{System: s, Habits: Habits(s)}
	config := proxy.Config{
		Server: &db.Config("application").Config, Gate: gate, Parameters: settings,
		Auth: proxy.SCRAM, User: "interlock", Password: rand.Text(),
	}
	if a.Habits.Listen != "" { // what it says has been settled before
		config.Auth, config.User, config.Password = proxy.Trust, "", ""
	}
	var err error
	if a.proxy, err = proxy.Listen(ctx, "tcp", cmp.Or(a.Habits.Listen, "127.0.0.1:0"), config); err != nil {
		return nil, err
	}
	if a.Instance, err = s.Start(ctx, a.proxy.URL()); err != nil {
		return nil, errors.Join(err, a.proxy.Close())
	}
	return a, nil
}

// Suspend has new connections of the application wait until what it returns is called.
func (a *Application) Suspend() (resume func()) { return a.proxy.Suspend() }

// Lost returns an error if the application has ended by itself.
func (a *Application) Lost(ctx context.Context) error {
	select {
	case <-a.Instance.Ended():
		if err := a.Instance.Close(ctx); err != nil {
			return err
		}
		return errors.New("the application ended")
	default:
		return nil
	}
}

// Reset makes it forget what it has learned from the database. It has to answer within limit.
func (a *Application) Reset(ctx context.Context, limit time.Duration) error {
	ctx, cancel := within(ctx, limit)
	defer cancel()
	return a.Instance.Reset(ctx)
}

// Greet has it answer what a client of its rehearsal asks, whatever it says, within limit.
func (a *Application) Greet(ctx context.Context, client string, op race.Operation, limit time.Duration) error {
	ctx, cancel := within(ctx, limit)
	defer cancel()
	_, err := (Actor{Instance: a.Instance}).Do(ctx, op)
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("%w; try the request while the application runs", context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("rehearsing client %s: %s: %w", client, op.Kind, err)
	}
	return nil
}

// Blocked adds to the error of a connection of ours that waited for a lock in vain which session of the application has it, as far as can be told.
func Blocked(ctx context.Context, conn *pgx.Conn, err error) error {
	if !Locked(err) {
		return err
	}
	var state, last string
	gone := conn.QueryRow(ctx, `select state, left(query, 200) from pg_stat_activity
		where datname = current_database() and xact_start is not null and backend_type = 'client backend' and pid <> pg_backend_pid()
		order by state like 'idle%' desc, xact_start limit 1`).Scan(&state, &last)
	if gone != nil {
		return fmt.Errorf("%w: whoever had the lock has ended its transaction by now; try again", err)
	}
	return fmt.Errorf("%w: a session of the application is still in a transaction (%s: %s); does it forget to end one?", err, state, last)
}

// Locked reports whether a lock was waited for in vain: 55P03, lock_not_available.
func Locked(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "55P03"
}

// ErrUnanswered is wrapped by the errors of Reset and Greet if no answer came in time.
var ErrUnanswered = errors.New("not answered")

// within bounds the time that an application has for one answer.
func within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w within %v", ErrUnanswered, limit))
}

// Close ends it and leaves nothing behind.
func (a *Application) Close(ctx context.Context) error {
	return errors.Join(a.Instance.Close(ctx), a.proxy.Close())
}

// Cast returns what each client of a scenario does its operations on. Connections are prepared, an application has been reset, for which it has as long as
// limit.
func (a *Arena) Cast(ctx context.Context, s race.Scenario, limit time.Duration) ([]Actor, error) {
	actors := make([]Actor, len(s.Clients))
	instance, err := a.Host(ctx, s)
	if err != nil {
		return nil, err
	}
	if instance != nil {
		for i := range actors {
			actors[i].Instance = instance
		}
		return actors, a.hosted.Reset(ctx, limit)
	}
	conns, err := a.Seats(ctx, s.Clients)
	if err != nil {
		return nil, err
	}
	for i := range actors {
		actors[i].Conn = conns[i]
	}
	return actors, Ready(ctx, s.Clients, conns)
}

// Greet starts the system of a scenario, if it does not run, and has the clients of its rehearsal do what they do, one after another: one that ran
// before may have connections to a database that is gone. What they are told means nothing, but each has to be answered within limit. One that is to be
// cold, and that we start, is ended instead: [Arena.Cast] starts it, on the starting rows.
func (a *Arena) Greet(ctx context.Context, s race.Scenario, limit time.Duration) error {
	if s.System == nil {
		return nil
	}
	if s.System.Habits().Anew() {
		_, err := a.Host(ctx, race.Scenario{})
		return err
	}
	if a.hosted != nil && a.hosted.System == s.System {
		return nil
	}
	if _, err := a.Host(ctx, s); err != nil || a.hosted.Habits.Cold || a.hosted.Habits.Rehearsal == nil {
		return err
	}
	if err := a.Prepare(ctx, s); err != nil {
		return err
	}
	for _, c := range a.hosted.Habits.Rehearsal() {
		for _, op := range c.Operations {
			if err := a.hosted.Greet(ctx, c.Name, op, limit); err != nil {
				return err
			}
		}
	}
	return nil
}

// Lost returns an error if the arena's application has ended by itself; it will be started anew.
func (a *Arena) Lost(ctx context.Context) error {
	if a.hosted == nil {
		return nil
	}
	err := a.hosted.Lost(ctx)
	if err != nil {
		hosted := a.hosted
		a.hosted = nil
		_ = hosted.Close(ctx) // which says the same again
	}
	return err
}

// Conns returns the connections of clients; nil for one that has none.
func Conns(actors []Actor) []*pgx.Conn {
	conns := make([]*pgx.Conn, len(actors))
	for i, a := range actors {
		conns[i] = a.Conn
	}
	return conns
}

// Host sees to it that the system of a scenario runs on the arena's database, unhindered, and no other.
func (a *Arena) Host(ctx context.Context, s race.Scenario) (race.Instance, error) {
	if a.hosted != nil && a.hosted.System != s.System {
		hosted := a.hosted
		a.hosted = nil
		if err := hosted.Close(ctx); err != nil {
			return nil, err
		}
	}
	if s.System == nil {
		return nil, nil
	}
	if a.hosted == nil {
		var err error
		if a.hosted, err = Launch(ctx, s.System, a.Database, wire.New(wire.Config{}), nil); err != nil {
			return nil, err
		}
	}
	return a.hosted.Instance, nil
}
