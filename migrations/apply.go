package migrations

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"

	"github.com/interlock-pg/interlock/harness/sqltext"
)

// Applied is a migration that went through.
type Applied struct {
	Migration Migration     `json:"migration"`
	Duration  time.Duration `json:"duration_ns"`
}

// Ledger is the table in which goose records what it has applied. Nothing is recorded of other layouts.
const Ledger = "public." + goose.DefaultTablename

// manner is how a tool sends a file.
type manner struct {
	whole       bool // as one message; otherwise statement by statement
	transaction bool // in a transaction of its own, unless a statement in it cannot run in one
	reconnect   bool // on a connection of its own, so that SET ends with the file
}

var manners = map[Layout]manner{
	GolangMigrate: {whole: true},
	Flyway:        {transaction: true, reconnect: true},
	Prisma:        {whole: true},
	Plain:         {reconnect: true},
}

// Apply brings a fresh database to version upTo, which is applied too; zero or less means all. It sends what the layout's own tool would send,
// because that decides what a failure leaves behind: see the package's documentation. It returns what went through, and stops at the first
// failure, which is an [*Error] if it lies in a file. Only a goose database may have migrations already: they are passed over.
func (s Set) Apply(ctx context.Context, config *pgx.ConnConfig, upTo int64) (done []Applied, err error) {
	if s.Layout == Goose {
		return s.gooseUp(ctx, config, upTo)
	}
	how, known := manners[s.Layout]
	if !known {
		return nil, fmt.Errorf("unknown layout %q; try a set from Open or Embedded", s.Layout)
	}
	todo := s.UpTo(upTo)
	plans := make([]plan, len(todo))
	for i, m := range todo { // what cannot be sent at all is found before anything is
		if plans[i], err = how.plan(m); err != nil {
			return nil, err
		}
	}
	var conn *pgx.Conn
	disconnect := func() {
		if conn != nil {
			err = errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
			conn = nil
		}
	}
	defer func() { disconnect() }()
	for i, m := range todo {
		if how.reconnect {
			disconnect()
		}
		if conn == nil {
			if conn, err = pgx.ConnectConfig(ctx, config); err != nil {
				return done, fmt.Errorf("applying %s: %w", m.Path, err)
			}
		}
		start := time.Now()
		if err := plans[i].run(ctx, conn.PgConn()); err != nil {
			return done, err
		}
		done = append(done, Applied{Migration: m, Duration: time.Since(start)})
	}
	return done, err
}

// ApplyOne applies one migration to a database that has those before it, as their tool would.
func (s Set) ApplyOne(ctx context.Context, config *pgx.ConnConfig, version int64) (Applied, error) {
	m, found := s.At(version)
	if !found {
		return Applied{}, fmt.Errorf("there is no migration %d in %s; try one of %d", version, s.Dir, s.Versions())
	}
	if s.Layout != Goose {
		s.Migrations = []Migration{m}
	}
	done, err := s.Apply(ctx, config, version)
	if err != nil {
		return Applied{Migration: m}, err
	}
	if len(done) == 0 { // goose has it in its ledger
		return Applied{Migration: m}, nil
	}
	return done[len(done)-1], nil
}

// Down reverts, newest first, the migrations with a version above to; zero reverts all. Of goose, it is those that its ledger has. Of other
// layouts, it is all of the set, and each must have its Undo, which is sent as the tool sends a file. Applied.Duration is the time it took.
func (s Set) Down(ctx context.Context, config *pgx.ConnConfig, to int64) (done []Applied, err error) {
	if s.Layout == Goose {
		return s.goose(config, gooseDown, func(p *goose.Provider) ([]*goose.MigrationResult, error) {
			return p.DownTo(ctx, max(to, 0))
		})
	}
	for _, m := range slices.Backward(s.Migrations) {
		if m.Version <= to {
			break
		}
		if m.Undo == "" {
			return done, fmt.Errorf("%s has no file that reverts it; try a fresh database and Apply up to version %d", m.Path, to)
		}
		undo := Set{Layout: s.Layout, Migrations: []Migration{{Version: m.Version, Path: m.Undo, SQL: m.UndoSQL}}}
		reverted, err := undo.Apply(ctx, config, 0)
		if err != nil {
			return done, err
		}
		done = append(done, Applied{Migration: m, Duration: reverted[0].Duration})
	}
	return done, nil
}

// Reverts reports whether a migration says how it is reverted.
func (s Set) Reverts(m Migration) bool {
	if s.Layout != Goose {
		return m.Undo != ""
	}
	at := gooseDown.FindStringIndex(m.SQL)
	return at != nil && len(sqltext.Split(m.SQL[at[1]:])) > 0
}

// plan is what will be sent of one file.
type plan struct {
	migration   Migration
	messages    []sqltext.Statement
	transaction bool
}

// notInTransaction are the statements that Flyway keeps out of a transaction.
var notInTransaction = []string{
	"create|drop ?unique index concurrently",
	"reindex ?index|table|schema|database|system concurrently",
	"reindex schema|database|system",
	"vacuum",
	"create|drop database|tablespace|subscription",
	"alter system",
	"discard all",
}

// plan decides what to send of a file. It refuses, with an [*Error], what only psql understands.
func (how manner) plan(m Migration) (plan, error) {
	p := plan{migration: m, transaction: how.transaction}
	if how.whole {
		p.messages = []sqltext.Statement{{Kind: sqltext.SQL, Text: m.SQL, Line: 1}}
		return p, nil
	}
	for _, s := range sqltext.Split(m.SQL) {
		switch {
		case s.Kind == sqltext.Command && (strings.HasPrefix(s.Text, `\restrict`) || strings.HasPrefix(s.Text, `\unrestrict`)):
			continue // pg_dump guards its files with them
		case s.Kind == sqltext.Command:
			return p, refusal(m, s, "this is a command of psql, not SQL", "leave the line out, and say what it does in SQL")
		case s.ReadsInput():
			return p, refusal(m, s, "COPY FROM STDIN reads rows from the file, which is not supported", "INSERT statements instead")
		}
		p.messages = append(p.messages, s)
		for _, pattern := range notInTransaction {
			if s.Begins(pattern) {
				p.transaction = false
			}
		}
	}
	return p, nil
}

// run sends a file.
func (p plan) run(ctx context.Context, conn *pgconn.PgConn) error {
	if p.transaction {
		if _, err := exec(ctx, conn, "begin"); err != nil {
			return fmt.Errorf("beginning %s: %w", p.migration.Path, err)
		}
	}
	var kept, pending int // statements committed so far, and since then
	for _, s := range p.messages {
		tags, err := exec(ctx, conn, s.Text)
		if err != nil {
			return fail(p.migration, p.migration.SQL, nth(s, len(tags)), s, kept, err)
		}
		pending++
		if len(tags) > 0 && tags[len(tags)-1] == "ROLLBACK" {
			pending = 0
		}
		if conn.TxStatus() == 'I' {
			kept, pending = kept+pending, 0
		}
	}
	if p.transaction {
		if _, err := exec(ctx, conn, "commit"); err != nil {
			return fail(p.migration, p.migration.SQL, sqltext.Statement{}, sqltext.Statement{}, 0, err)
		}
	}
	return nil
}

// nth returns the statement of a message that comes after n others.
func nth(message sqltext.Statement, n int) sqltext.Statement {
	for _, s := range sqltext.Split(message.Text) {
		if n == 0 {
			s.Offset += message.Offset
			return s
		}
		n--
	}
	return message
}

// exec sends one message by the simple protocol, and returns the command tags of the statements in it that went through.
func exec(ctx context.Context, conn *pgconn.PgConn, sql string) (tags []string, err error) {
	results := conn.Exec(ctx, sql)
	for results.NextResult() {
		tag, err := results.ResultReader().Close()
		if err != nil {
			break // and Close says it again
		}
		tags = append(tags, tag.String())
	}
	return tags, results.Close()
}
