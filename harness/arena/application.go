package arena

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

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

// Close ends it and leaves nothing behind.
func (a *Application) Close(ctx context.Context) error {
	return errors.Join(a.Instance.Close(ctx), a.proxy.Close())
}

// Cast returns what each client of a scenario does its operations on. Connections are prepared, an application has been reset.
func (a *Arena) Cast(ctx context.Context, s race.Scenario) ([]Actor, error) {
	actors := make([]Actor, len(s.Clients))
	instance, err := a.Host(ctx, s)
	if err != nil {
		return nil, err
	}
	if instance != nil {
		for i := range actors {
			actors[i].Instance = instance
		}
		return actors, instance.Reset(ctx)
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
// before may have connections to a database that is gone. What they are told means nothing.
func (a *Arena) Greet(ctx context.Context, s race.Scenario) error {
	if s.System == nil || a.hosted != nil && a.hosted.System == s.System {
		return nil
	}
	instance, err := a.Host(ctx, s)
	if err != nil || a.hosted.Habits.Cold || a.hosted.Habits.Rehearsal == nil {
		return err
	}
	if err := a.Prepare(ctx, s); err != nil {
		return err
	}
	for _, c := range a.hosted.Habits.Rehearsal() {
		for _, op := range c.Operations {
			if _, err := (Actor{Instance: instance}).Do(ctx, op); err != nil {
				return fmt.Errorf("rehearsing client %s: %w", c.Name, err)
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
