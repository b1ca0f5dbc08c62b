package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/interlock-pg/interlock/harness/check"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/internal/pause"
	"github.com/interlock-pg/interlock/harness/monitor"
	"github.com/interlock-pg/interlock/harness/monitor/agenda"
	"github.com/interlock-pg/interlock/harness/monitor/notify"
	"github.com/interlock-pg/interlock/harness/monitor/settings"
	"github.com/interlock-pg/interlock/harness/monitor/web"
	"github.com/interlock-pg/interlock/harness/repair"
)

// Config is what a daemon has beside its settings.
type Config struct {
	Settings *settings.Settings
	Database *pgx.ConnConfig // nil: Settings say where
	Watches  []monitor.Watch
	Indexes  []check.Index
	Rules    []repair.Rule // of repairs

	Tool      history.Tool
	Log       *slog.Logger
	Listening func(url string) // is told where the site is; nil: nobody is
}

// DefaultListen is where the site is, where nothing says it.
const DefaultListen = "127.0.0.1:8080"

// daemon is one that has been put together.
type daemon struct {
	Config
	database *pgx.ConnConfig
	monitor  *monitor.Monitor
	site     *web.Site
	agenda   *agenda.Agenda
	told     notify.Config // of no destinations: nobody is told
	notes    *notes
	repairs  *agenda.Repair // nil: nothing is repaired
}

// Run runs until ctx is done; then it answers what has been asked, and stops. An error says what is wrong with the settings, or why it ended before.
func Run(ctx context.Context, config Config) error {
	d := &daemon{Config: config, notes: &notes{wanted: config.Settings.Notify != nil}}
	if err := d.assemble(); err != nil {
		return err
	}
	defer d.monitor.Close()
	listener, err := d.listen(ctx)
	if err != nil {
		return err
	}
	all, ctx := errgroup.WithContext(ctx)
	run := func(part func(context.Context) error) {
		all.Go(func() error {
			if err := part(ctx); ctx.Err() == nil {
				return err
			}
			return nil
		})
	}
	run(d.monitor.Run)
	run(d.agenda.Run)
	if len(d.told.Destinations) > 0 {
		run(d.notify)
	}
	all.Go(func() error { return d.site.Serve(ctx, listener) })
	if d.Listening != nil {
		d.Listening(d.url(listener))
	}
	return all.Wait()
}

// assemble makes the parts, and finds out what is wrong with them before anything runs.
func (d *daemon) assemble() error {
	s := d.Settings
	if err := d.locate(); err != nil {
		return err
	}
	var err error
	d.monitor, err = monitor.Open(monitor.Config{
		Database: d.database, Watches: d.Watches, Indexes: d.Indexes,
		Every: s.Checks.Every, Full: s.Checks.Full, StatementTimeout: s.Checks.Timeout, LockTimeout: s.Checks.LockTimeout,
	})
	if err != nil {
		return err
	}
	face := web.Config{
		Source: d.monitor, PublicHealth: s.Public.Health, PublicMetrics: s.Public.Metrics, BehindTLS: s.BehindTLS, Log: d.Log, Version: d.Tool.Version,
		Open: len(s.Tokens) == 0, Collectors: []collector{d.notes},
	}
	for _, t := range s.Tokens {
		secret, err := s.Read(t.Secret, "the token "+t.Name)
		if err != nil {
			return err
		}
		face.Tokens = append(face.Tokens, web.Token{Name: t.Name, Role: web.Role(t.Role), Secret: secret})
	}
	if err := d.plan(); err != nil {
		return err
	}
	if d.repairs != nil {
		face.Repair = d.repair
	}
	if d.site, err = web.New(face); err != nil {
		return err
	}
	if s.Notify != nil {
		return d.address()
	}
	return nil
}

// locate finds the database.
func (d *daemon) locate() error {
	if d.database = d.Database; d.database != nil {
		return nil
	}
	if d.Settings.Postgres == (settings.Secret{}) {
		return errors.New("nothing says which database to watch; try --postgres postgres://user@host/database, or postgres: {environment: NAME} in the settings")
	}
	dsn, err := d.Settings.Read(d.Settings.Postgres, "the database's DSN")
	if err != nil {
		return err
	}
	if d.database, err = pgx.ParseConfig(dsn); err != nil {
		return fmt.Errorf("the database's DSN: %w; try postgres://user@host/database", err)
	}
	return nil
}

// plan makes the agenda.
func (d *daemon) plan() error {
	s := d.Settings
	var jobs []agenda.Job
	if s.Checks.Schedule != "" {
		jobs = append(jobs, agenda.Job{Name: "check", Spec: s.Checks.Schedule, Zone: s.Checks.Zone.Location, Do: d.look})
	}
	if s.Repair != nil {
		d.repairs = &agenda.Repair{
			Database: d.database, Config: repair.Config{Rules: d.Rules}, Mode: agenda.Mode(s.Repair.Mode), MaxRows: s.Repair.Most,
		}
		if err := d.repairs.Check(); err != nil {
			return err
		}
		if s.Repair.Schedule != "" {
			do := func(ctx context.Context) error {
				_, err := d.repair(ctx, s.Repair.Mode == settings.Apply)
				return err
			}
			jobs = append(jobs, agenda.Job{Name: "repair", Spec: s.Repair.Schedule, Zone: s.Repair.Zone.Location, Do: do})
		}
	}
	var err error
	d.agenda, err = agenda.New(agenda.Config{Jobs: jobs, Log: d.Log})
	return err
}

// look looks now, at the indexes too.
func (d *daemon) look(ctx context.Context) error {
	for _, w := range d.Watches {
		r, err := d.monitor.Result(ctx, w.Name, 0)
		if err != nil {
			return err
		}
		if r.Verdict == history.Unknown {
			return fmt.Errorf("%s: %s", w.Name, r.Why)
		}
	}
	_, _, err := d.monitor.Indexes(ctx, 0)
	return err
}

// repair repairs once, or plans to, and looks at what has become of it.
func (d *daemon) repair(ctx context.Context, apply bool) (history.Run, error) {
	r := *d.repairs
	if apply && r.Mode != agenda.Apply {
		return history.Run{}, fmt.Errorf("%w: the settings allow a dry run only; try mode: apply, or --repair apply", web.ErrRefused)
	}
	if !apply {
		r.Mode = agenda.DryRun
	}
	var made history.Run
	r.Done = func(run history.Run) error {
		run.Format, run.Tool = history.Format, d.Tool
		run.Repair.Keep, run.Repair.Window = d.Settings.Repair.Keep, history.Duration(d.Settings.Window)
		made = run
		rows := 0
		for _, g := range run.Repair.Groups {
			rows += len(g.Cancel)
		}
		d.Log.Info("repair", "mode", r.Mode, "id", run.Repair.ID, "groups", len(run.Repair.Groups), "rows", rows, "left", run.Repair.Left, "verdict", run.Verdict)
		return nil
	}
	err := r.Do(ctx)
	if err == nil && apply {
		if err := d.look(ctx); err != nil {
			d.Log.Warn("what has become of the repair is not seen yet", "error", err)
		}
	}
	switch {
	case errors.Is(err, agenda.ErrRefused):
		err = fmt.Errorf("%w: %w", web.ErrRefused, err)
	case errors.Is(err, agenda.ErrSkipped):
		err = fmt.Errorf("%w: %w", web.ErrBusy, err)
	}
	return made, err
}

// listen opens the address of the site.
func (d *daemon) listen(ctx context.Context) (net.Listener, error) {
	s := d.Settings
	address := s.Listen
	if address == "" {
		address = DefaultListen
	}
	var certificate tls.Certificate
	if s.TLS != nil {
		var err error
		if certificate, err = s.Certificate(); err != nil {
			return nil, err
		}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w; try another address with --listen", err)
	}
	if s.TLS != nil {
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	}
	if at, ok := listener.Addr().(*net.TCPAddr); len(s.Tokens) == 0 && (!ok || !at.IP.IsLoopback()) {
		return nil, errors.Join(fmt.Errorf("%s is not on a loopback address, and nobody would be asked for a token; try 127.0.0.1, or giving tokens", listener.Addr()), listener.Close())
	}
	return listener, nil
}

func (d *daemon) url(l net.Listener) string {
	scheme := "http"
	if d.Settings.TLS != nil {
		scheme = "https"
	}
	address := l.Addr().String()
	if at, ok := l.Addr().(*net.TCPAddr); ok && at.IP.IsUnspecified() {
		address = net.JoinHostPort("127.0.0.1", strconv.Itoa(at.Port))
	}
	return scheme + "://" + address + "/"
}

// address says who is told.
func (d *daemon) address() error {
	s := d.Settings
	n := s.Notify
	d.told = notify.Config{Source: n.Source, Link: n.Link, Groups: n.Groups, Update: n.Update, HealFor: n.HealFor, Poll: poll, Log: d.Log}
	if every := s.Checks.Every; every > 0 {
		d.told.Poll = min(poll, every)
	}
	if n.Hide {
		d.told.Hide = func(string) string { return "(hidden)" }
	}
	for _, to := range n.Destinations {
		url, err := s.Read(to.URL, "the address of "+to.Name)
		if err != nil {
			return err
		}
		one := notify.Destination{Name: to.Name, Kind: notify.Kind(to.Kind), URL: notify.Hidden(url)}
		if to.Secret != (settings.Secret{}) {
			secret, err := s.Read(to.Secret, "the secret of "+to.Name)
			if err != nil {
				return err
			}
			one.Secret = notify.Hidden(secret)
		}
		d.told.Destinations = append(d.told.Destinations, one)
	}
	_, err := notify.New(d.told, nil)
	return err
}

// poll is how often it is looked what has become of messages elsewhere, and of the place where they wait, and what the latest looks came to; where looks are
// made oftener, it is as often as those.
const poll = 10 * time.Second

// notify tells people, once there is an outbox: a database that is not there when we start may come later.
func (d *daemon) notify(ctx context.Context) error {
	store := notify.Store{File: d.Settings.Resolve(d.Settings.Notify.Outbox.File), Log: d.Log}
	if d.Settings.Notify.Outbox.Table {
		store.Database, store.Create = d.database, true
	}
	const most = time.Minute
	for wait := time.Second; ; wait = min(2*wait, most) {
		outbox, err := notify.Open(ctx, store)
		if err == nil {
			return errors.Join(d.tell(ctx, outbox), outbox.Close())
		}
		if ctx.Err() != nil {
			return err
		}
		d.Log.Warn("nobody can be told yet: there is no outbox", "error", err, "again", wait)
		if err := pause.For(ctx, wait); err != nil {
			return err
		}
	}
}

// tell observes what looks come to, and sends what is to be told of it.
func (d *daemon) tell(ctx context.Context, outbox notify.Outbox) error {
	notifier, err := notify.New(d.told, outbox)
	if err != nil {
		return err
	}
	d.notes.set(notifier)
	changes, stop := d.monitor.Changes()
	defer stop()
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return notifier.Run(ctx) })
	both.Go(func() error {
		observe := func(r monitor.Result) {
			if err := notifier.Observe(ctx, r); err != nil && ctx.Err() == nil {
				d.Log.Warn("not written to the outbox yet", "watch", r.Watch.Name, "error", err)
			}
		}
		all := func(fresh time.Duration) error {
			for _, w := range d.Watches {
				r, err := d.monitor.Result(ctx, w.Name, fresh)
				if err != nil {
					return err
				}
				observe(r)
			}
			return nil
		}
		if err := all(time.Minute); err != nil {
			return err
		}
		again := time.NewTicker(d.told.Poll)
		defer again.Stop()
		for {
			select {
			case c, ok := <-changes:
				if !ok {
					return nil
				}
				observe(c.Result)
			case <-again.C: // what has not changed is news to an incident that another instance opened, or that is to end
				if err := all(-1); err != nil {
					return err
				}
			case <-ctx.Done():
				return nil
			}
		}
	})
	return both.Wait()
}
