package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness"
	"github.com/interlock-pg/interlock/harness/monitor"
	"github.com/interlock-pg/interlock/harness/monitor/agenda"
	"github.com/interlock-pg/interlock/harness/monitor/daemon"
	"github.com/interlock-pg/interlock/harness/monitor/settings"
	"github.com/interlock-pg/interlock/harness/monitor/web"
	"github.com/interlock-pg/interlock/scenarios"
)

// What flags and environment say is stronger than the file.
type serveCommand struct {
	Config         string        `help:"File of settings (docs/SERVE.md). Default: none." env:"INTERLOCK_CONFIG" placeholder:"FILE" group:"Settings"`
	Listen         string        `help:"Where the API and the page are. Anywhere but on loopback, a token is needed. Default: 127.0.0.1:8080." env:"INTERLOCK_LISTEN" placeholder:"HOST:PORT" group:"Settings"`
	TLSCertificate string        `help:"Certificate to speak TLS with, PEM." env:"INTERLOCK_TLS_CERT" name:"tls-cert" placeholder:"FILE" group:"Settings"`
	TLSKey         string        `help:"Its key, PEM." env:"INTERLOCK_TLS_KEY" name:"tls-key" placeholder:"FILE" group:"Settings"`
	Every          time.Duration `help:"From one look at an invariant to the next. Default: 10s." env:"INTERLOCK_EVERY" placeholder:"DURATION" group:"Settings"`
	Window         time.Duration `help:"How far apart two schedules of a device must be. Default: 30m." env:"INTERLOCK_WINDOW" placeholder:"DURATION" group:"Settings"`
	Repair         string        `help:"How far a repair may go, at set times or when somebody with the role repair asks: dry-run, apply. Default: there is none." env:"INTERLOCK_REPAIR" enum:"dry-run,apply," default:"" placeholder:"MODE" group:"Settings"`
	RepairSchedule string        `help:"When to repair, as cron has it, as '0 3 * * *' or 'CRON_TZ=Asia/Seoul 0 3 * * *'. Default: when somebody asks." env:"INTERLOCK_REPAIR_SCHEDULE" placeholder:"CRON" group:"Settings"`
	Keep           string        `help:"Which of the open sessions of a device a repair keeps: ${keeps}. Default: the first of them." env:"INTERLOCK_KEEP" placeholder:"WHICH" group:"Settings"`
}

// tokensFromEnvironment are the variables that hold a token each, with what it is good for.
var tokensFromEnvironment = []struct {
	variable string
	role     web.Role
}{{"INTERLOCK_TOKEN", web.Read}, {"INTERLOCK_REPAIR_TOKEN", web.Repair}}

func (c *serveCommand) Run(ctx context.Context, out *output, pg *postgres) error {
	switch {
	case out.HTML != "":
		return usage("serve writes no report, its page is where it listens; try it without --html")
	case out.Redact:
		return usage("--redact is for reports, and whoever may ask serve is answered with data; try notify: {hide: true} in the settings, which hides it in messages")
	}
	s, err := c.settings()
	if err != nil {
		return exit{exitUsage, err}
	}
	config := daemon.Config{Settings: s, Watches: scenarios.Watches(s.Window), Indexes: scenarios.Indexes(s.Window), Tool: harness.Tool(), Log: serveLog(out)}
	if s.Repair != nil {
		config.Rules = scenarios.RepairRules(s.Window, scenarios.Keep(s.Repair.Keep))
	}
	switch {
	case isDSN(pg.Postgres):
		if config.Database, err = pgx.ParseConfig(pg.Postgres); err != nil {
			return usage("--postgres: %w; try postgres://user@host/database", err)
		}
	case pg.Postgres != "auto" || s.Postgres == (settings.Secret{}):
		return usage("serve watches a database of yours; try: interlock serve --postgres postgres://user@host/database")
	}
	config.Listening = func(url string) {
		switch {
		case out.JSON:
			config.Log.Info("watching", "watches", watched(config.Watches), "url", url)
		case !out.Quiet:
			fmt.Fprintf(out.stdout, "Watching %s at %s (Ctrl-C ends it)\n", watched(config.Watches), url)
		}
	}
	d, err := daemon.New(config)
	if err != nil {
		return exit{exitUsage, err}
	}
	return d.Run(ctx)
}

// serveLog goes to standard error: as JSON if asked for, and only what somebody should look at where little is to be said.
func serveLog(out *output) *slog.Logger {
	options := &slog.HandlerOptions{}
	if out.Quiet {
		options.Level = slog.LevelWarn
	}
	if out.JSON {
		return slog.New(slog.NewJSONHandler(out.stderr, options))
	}
	return slog.New(slog.NewTextHandler(out.stderr, options))
}

// settings returns those of the file, with what flags and environment say in their place.
func (c *serveCommand) settings() (*settings.Settings, error) {
	s := new(settings.Settings)
	if c.Config != "" {
		var err error
		if s, err = settings.Load(c.Config, texts(scenarios.Keeps())...); err != nil {
			return nil, err
		}
	}
	if c.Listen != "" {
		if err := settings.CheckListen(c.Listen); err != nil {
			return nil, fmt.Errorf("--listen: %w", err)
		}
		s.Listen = c.Listen
	}
	if c.TLSCertificate != "" || c.TLSKey != "" {
		if c.TLSCertificate == "" || c.TLSKey == "" {
			return nil, errors.New("TLS needs a certificate and its key; try --tls-cert FILE --tls-key FILE")
		}
		s.TLS = &settings.TLS{Certificate: absolute(c.TLSCertificate), Key: absolute(c.TLSKey)}
	}
	if c.Every < 0 || c.Window < 0 {
		return nil, errors.New("--every and --window must be more than 0; try --every 10s, or --window 30m")
	}
	if c.Every > 0 {
		s.Checks.Every = c.Every
	}
	if c.Window > 0 {
		s.Window = c.Window
	}
	if s.Window == 0 {
		s.Window = scenarios.Window
	}
	if err := c.repairs(s); err != nil {
		return nil, err
	}
	for _, t := range tokensFromEnvironment {
		named := slices.ContainsFunc(s.Tokens, func(other settings.Token) bool { return other.Environment == t.variable })
		if os.Getenv(t.variable) != "" && !named {
			s.Tokens = append(s.Tokens, settings.Token{Name: t.variable, Role: t.role, Secret: settings.Secret{Environment: t.variable}})
		}
	}
	return s, nil
}

func (c *serveCommand) repairs(s *settings.Settings) error {
	if c.Repair != "" {
		if s.Repair == nil {
			s.Repair = new(settings.Repair)
		}
		s.Repair.Mode = agenda.Mode(c.Repair)
	}
	if s.Repair == nil {
		if c.RepairSchedule != "" || c.Keep != "" {
			return errors.New("--repair-schedule and --keep are about repairs, and there are none; try --repair dry-run")
		}
		return nil
	}
	if c.RepairSchedule != "" {
		s.Repair.Schedule = c.RepairSchedule
	}
	if c.Keep != "" {
		s.Repair.Keep = c.Keep
	}
	keeps := scenarios.Keeps()
	if s.Repair.Keep == "" {
		s.Repair.Keep = string(keeps[0])
	}
	for _, k := range keeps {
		if string(k) == s.Repair.Keep {
			return nil
		}
	}
	return fmt.Errorf("there is no way to keep a session that is called %q%s; try one of %s", s.Repair.Keep, didYouMean(s.Repair.Keep, texts(keeps)), names(keeps))
}

// absolute is for names of files that are not relative to the settings.
func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}

// watched names what is watched, for people.
func watched(watches []monitor.Watch) string {
	all := make([]string, len(watches))
	for i, w := range watches {
		all[i] = w.Name
	}
	return names(all)
}

func texts[S ~string](words []S) []string {
	all := make([]string, len(words))
	for i, word := range words {
		all[i] = string(word)
	}
	return all
}
