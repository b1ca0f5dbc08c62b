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
	"github.com/prometheus/client_golang/prometheus"
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

// Daemon is one that has been put together.
type Daemon struct {
	config      Config
	database    *pgx.ConnConfig
	tokens      []web.Token
	certificate tls.Certificate // where there is TLS
	told        notify.Config   // of no destinations: nobody is told
	monitor     *monitor.Monitor
	site        *web.Site
	agenda      *agenda.Agenda
	notes       *notes
	repairs     *agenda.Repair // nil: nothing is repaired
}

// New makes the parts, and finds out what is wrong with them before anything runs. Nobody is asked for it; an error says what is wrong with the settings.
func New(config Config) (*Daemon, error) {
	d := &Daemon{config: config, notes: &notes{wanted: config.Settings.Notify != nil, seen: newBacklog()}}
	if err := d.assemble(); err != nil {
		return nil, err
	}
	return d, nil
}

// Run runs until ctx is done; then it answers what has been asked, and stops. It is to be called once. An error says why it ended before.
func (d *Daemon) Run(ctx context.Context) error {
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
	if len(d.told.Destinations) > 0 {
		changes, _ := d.monitor.Changes() // before the first look; they end with the monitor
		all.Go(func() error {
			d.notes.seen.collect(changes)
			return nil
		})
		run(d.notify)
	}
	run(d.monitor.Run)
	run(d.agenda.Run)
	all.Go(func() error { return d.site.Serve(ctx, listener) })
	if d.config.Listening != nil {
		d.config.Listening(d.url(listener))
	}
	return all.Wait()
}

func (d *Daemon) assemble() error {
	s := d.config.Settings
	err := errors.Join(d.locate(), d.admit(), d.encrypt(), d.address())
	if err != nil {
		return err
	}
	d.monitor, err = monitor.Open(monitor.Config{
		Database: d.database, Watches: d.config.Watches, Indexes: d.config.Indexes,
		Every: s.Checks.Every, Full: s.Checks.Full, StatementTimeout: s.Checks.Timeout, LockTimeout: s.Checks.LockTimeout,
	})
	if err != nil {
		return err
	}
	if err := d.plan(); err != nil {
		return err
	}
	face := web.Config{
		Source: d.monitor, PublicHealth: s.Public.Health, PublicMetrics: s.Public.Metrics, BehindTLS: s.BehindTLS, Log: d.config.Log, Version: d.config.Tool.Version,
		Tokens: d.tokens, Open: len(s.Tokens) == 0, Collectors: []prometheus.Collector{d.notes, jobs{d.agenda}},
	}
	if d.repairs != nil {
		face.Repair = d.repair
	}
	if d.site, err = web.New(face); err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	return nil
}

// admit finds out who may ask.
func (d *Daemon) admit() (err error) {
	for i, t := range d.config.Settings.Tokens {
		secret, wrong := d.config.Settings.Read(t.Secret, fmt.Sprintf("tokens[%d] (%s)", i, t.Name))
		err = errors.Join(err, wrong)
		d.tokens = append(d.tokens, web.Token{Name: t.Name, Role: t.Role, Secret: secret})
	}
	return err
}

// encrypt reads the certificate, if there is one.
func (d *Daemon) encrypt() (err error) {
	if d.config.Settings.TLS != nil {
		d.certificate, err = d.config.Settings.Certificate()
	}
	return err
}

// locate finds the database.
func (d *Daemon) locate() error {
	if d.database = d.config.Database; d.database != nil {
		return nil
	}
	if d.config.Settings.Postgres == (settings.Secret{}) {
		return errors.New("nothing says which database to watch; try --postgres postgres://user@host/database, or postgres: {environment: NAME} in the settings")
	}
	dsn, err := d.config.Settings.Read(d.config.Settings.Postgres, "postgres")
	if err != nil {
		return err
	}
	if d.database, err = pgx.ParseConfig(dsn); err != nil {
		return fmt.Errorf("postgres: %w; try postgres://user@host/database", err)
	}
	return nil
}

// plan makes the agenda.
func (d *Daemon) plan() error {
	s := d.config.Settings
	var jobs []agenda.Job
	if s.Checks.Schedule != "" {
		jobs = append(jobs, agenda.Job{Name: "check", Spec: s.Checks.Schedule, Zone: s.Checks.Zone.Location, Do: d.look})
	}
	if s.Repair != nil {
		d.repairs = &agenda.Repair{
			Database: d.database, Config: repair.Config{Rules: d.config.Rules}, Mode: s.Repair.Mode, MaxRows: s.Repair.Most,
		}
		if err := d.repairs.Check(); err != nil {
			return err
		}
		if s.Repair.Schedule != "" {
			do := func(ctx context.Context) error {
				_, err := d.repair(ctx, s.Repair.Mode == agenda.Apply)
				return err
			}
			jobs = append(jobs, agenda.Job{Name: "repair", Spec: s.Repair.Schedule, Zone: s.Repair.Zone.Location, Do: do})
		}
	}
	var err error
	d.agenda, err = agenda.New(agenda.Config{Jobs: jobs, Log: d.config.Log})
	return err
}

// look looks now, at the indexes too. The error has all that is not known.
func (d *Daemon) look(ctx context.Context) error {
	var unknown []error
	for _, w := range d.config.Watches {
		r, err := d.monitor.Result(ctx, w.Name, 0)
		if err == nil && r.Verdict == history.Unknown {
			err = fmt.Errorf("%s: %s", w.Name, r.Why)
		}
		unknown = append(unknown, err)
	}
	_, _, err := d.monitor.Indexes(ctx, 0)
	return errors.Join(append(unknown, err)...)
}

// repair repairs once, or plans to, and looks at what has become of it.
func (d *Daemon) repair(ctx context.Context, apply bool) (history.Run, error) {
	r := *d.repairs
	if apply && r.Mode != agenda.Apply {
		return history.Run{}, fmt.Errorf("%w: the settings allow a dry run only; try mode: apply, or --repair apply", web.ErrRefused)
	}
	if !apply {
		r.Mode = agenda.DryRun
	}
	var made history.Run
	r.Done = func(run history.Run) error {
		run.Format, run.Tool = history.Format, d.config.Tool
		run.Repair.Keep, run.Repair.Window = d.config.Settings.Repair.Keep, history.Duration(d.config.Settings.Window)
		made = run
		return nil
	}
	err := r.Do(ctx)
	if made.Repair != nil {
		d.noteRepair(r.Mode, made, err)
	}
	if err == nil && apply {
		if err := d.look(ctx); err != nil {
			d.config.Log.Warn("what has become of the repair is not seen yet", "error", err)
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

// noteRepair logs what a repair came to; one that was refused has resolved nothing.
func (d *Daemon) noteRepair(mode agenda.Mode, run history.Run, err error) {
	rows, resolved := 0, 0
	for _, g := range run.Repair.Groups {
		rows += len(g.Cancel)
		if g.State == history.RepairResolved {
			resolved++
		}
	}
	log := d.config.Log.With("mode", mode, "id", run.Repair.ID, "groups", len(run.Repair.Groups), "rows", rows, "resolved", resolved,
		"left", run.Repair.Left, "verdict", run.Verdict)
	if err != nil {
		log.Warn("repair", "error", err)
		return
	}
	log.Info("repair")
}

// listen opens the address of the site.
func (d *Daemon) listen(ctx context.Context) (net.Listener, error) {
	s := d.config.Settings
	address := s.Listen
	if address == "" {
		address = DefaultListen
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w; try another address with --listen", err)
	}
	if s.TLS != nil {
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{d.certificate}, MinVersion: tls.VersionTLS12})
	}
	if at, ok := listener.Addr().(*net.TCPAddr); len(s.Tokens) == 0 && (!ok || !at.IP.IsLoopback()) {
		return nil, errors.Join(fmt.Errorf("%s is not on a loopback address, and nobody would be asked for a token; try 127.0.0.1, or giving tokens", listener.Addr()), listener.Close())
	}
	return listener, nil
}

func (d *Daemon) url(l net.Listener) string {
	scheme := "http"
	if d.config.Settings.TLS != nil {
		scheme = "https"
	}
	address := l.Addr().String()
	if at, ok := l.Addr().(*net.TCPAddr); ok && at.IP.IsUnspecified() {
		address = net.JoinHostPort("127.0.0.1", strconv.Itoa(at.Port))
	}
	return scheme + "://" + address + "/"
}

// address says who is told.
func (d *Daemon) address() (err error) {
	s := d.config.Settings
	n := s.Notify
	if n == nil {
		return nil
	}
	d.told = notify.Config{
		Source: n.Source, Link: n.Link, Groups: n.Groups, Hide: n.Hide, Update: n.Update, HealFor: n.HealFor, Poll: poll, Log: d.config.Log,
	}
	if every := s.Checks.Every; every > 0 {
		d.told.Poll = min(poll, every)
	}
	for i, to := range n.Destinations {
		at := fmt.Sprintf("notify.destinations[%d]", i)
		one := notify.Destination{Name: to.Name, Kind: to.Kind}
		url, wrong := s.Read(to.URL, fmt.Sprintf("%s.url (%s)", at, to.Name))
		one.URL = notify.Hidden(url)
		if wrong == nil && to.Secret != (settings.Secret{}) {
			var secret string
			secret, wrong = s.Read(to.Secret, fmt.Sprintf("%s.secret (%s)", at, to.Name))
			one.Secret = notify.Hidden(secret)
		}
		if wrong == nil {
			if wrong = one.Check(); wrong != nil {
				wrong = fmt.Errorf("%s: %w", at, wrong)
			}
		}
		err = errors.Join(err, wrong)
		d.told.Destinations = append(d.told.Destinations, one)
	}
	return err
}

// poll is how often it is looked what has become of messages elsewhere, and of the place where they wait, and what the latest looks came to; where looks are
// made oftener, it is as often as those.
const poll = 10 * time.Second

// notify tells people, once there is an outbox: a database that is not there when we start may come later.
func (d *Daemon) notify(ctx context.Context) error {
	store := notify.Store{File: d.config.Settings.Resolve(d.config.Settings.Notify.Outbox.File), Log: d.config.Log}
	if d.config.Settings.Notify.Outbox.Table {
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
		d.config.Log.Warn("nobody can be told yet: there is no outbox", "error", err, "again", wait)
		if err := pause.For(ctx, wait); err != nil {
			return err
		}
	}
}

// tell observes what looks come to, and sends what is to be told of it.
func (d *Daemon) tell(ctx context.Context, outbox notify.Outbox) error {
	notifier, err := notify.New(d.told, outbox)
	if err != nil {
		return err
	}
	d.notes.set(notifier)
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return notifier.Run(ctx) })
	both.Go(func() error {
		observe := func(r monitor.Result) {
			if err := notifier.Observe(ctx, r); err != nil && ctx.Err() == nil {
				d.config.Log.Warn("not written to the outbox yet", "watch", r.Watch.Name, "error", err)
			}
		}
		again := time.NewTicker(d.told.Poll)
		defer again.Stop()
		for {
			for _, r := range d.notes.seen.take() {
				observe(r)
			}
			select {
			case <-d.notes.seen.more:
			case <-again.C: // what has not changed is news to an incident that another instance opened, or that is to end
				for _, w := range d.config.Watches {
					r, err := d.monitor.Result(ctx, w.Name, -1)
					if err != nil {
						return err
					}
					observe(r)
				}
			case <-ctx.Done():
				return nil
			}
		}
	})
	return both.Wait()
}
