package main

import (
	"fmt"
	"strings"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/auto"
)

// postgres says where a Postgres comes from.
type postgres struct {
	Postgres   string `help:"Where Postgres comes from: ${ways}, or a DSN. On a server of yours, Interlock works in databases that it creates." default:"auto" env:"INTERLOCK_POSTGRES" placeholder:"WAY" group:"Postgres"`
	PgVersion  int    `help:"Major version wanted, as 16." placeholder:"N" group:"Postgres"`
	PgBin      string `help:"Directory with initdb and postgres, for local." env:"INTERLOCK_PG_BIN" placeholder:"DIR" group:"Postgres"`
	PgImage    string `help:"Image, for docker and dockertest." env:"INTERLOCK_PG_IMAGE" placeholder:"IMAGE" group:"Postgres"`
	Repository string `help:"Where embedded downloads from." env:"INTERLOCK_PG_REPOSITORY" placeholder:"URL" group:"Postgres"`
	Cache      string `help:"Directory for initialised clusters and downloads." env:"INTERLOCK_CACHE" placeholder:"DIR" group:"Postgres"`
}

func isDSN(s string) bool { return strings.Contains(s, "://") || strings.Contains(s, "=") }

// config returns the configuration for a provider. Its progress goes to standard error.
func (p *postgres) config(out *output) server.Config {
	config := server.Config{Version: p.PgVersion, BinDir: p.PgBin, Image: p.PgImage, RepositoryURL: p.Repository, CacheDir: p.Cache}
	if isDSN(p.Postgres) {
		config.DSN = p.Postgres
	}
	if !out.Quiet {
		config.Log = func(line string) { fmt.Fprintln(out.stderr, redact(line)) }
	}
	return config
}

// provider returns the way to get a Postgres that was asked for.
func (p *postgres) provider() (server.Provider, error) {
	name := p.Postgres
	if isDSN(name) {
		name = "dsn"
	}
	provider, ok := auto.Named(name)
	if !ok {
		return nil, usage("--postgres %s: no such way to get a Postgres%s; try one of %s, or a DSN such as postgres://user@host/db",
			name, didYouMean(name, auto.Names()), names(auto.Names()))
	}
	if p.PgVersion != 0 && p.PgVersion < server.MinVersion {
		return nil, usage("--pg-version %d: the oldest supported version is %d", p.PgVersion, server.MinVersion)
	}
	return provider, nil
}
