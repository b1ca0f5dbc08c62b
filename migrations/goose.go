package migrations

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing/fstest" // its MapFS is a file system in memory; nothing of package testing comes with it

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/multitracer"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/interlock-pg/interlock/harness/sqltext"
)

func (s Set) gooseUp(ctx context.Context, config *pgx.ConnConfig, upTo int64) ([]Applied, error) {
	if upTo <= 0 {
		upTo = math.MaxInt64
	}
	return s.goose(config, gooseUp, func(p *goose.Provider) ([]*goose.MigrationResult, error) {
		return p.UpTo(ctx, upTo)
	})
}

var gooseDown = regexp.MustCompile(`(?mi)^--+[ \t]*\+goose[ \t]+down[ \t\r]*$`)

// goose has goose do the work, watching what it sends. section is the annotation under which its statements are.
func (s Set) goose(config *pgx.ConnConfig, section *regexp.Regexp,
	work func(*goose.Provider) ([]*goose.MigrationResult, error),
) (done []Applied, err error) {
	files := fstest.MapFS{}
	byFile := map[string]Migration{}
	for _, m := range s.Migrations {
		name := filepath.Base(m.Path)
		files[name] = &fstest.MapFile{Data: []byte(m.SQL)}
		byFile[name] = m
	}
	watch := &watch{}
	config = config.Copy()
	if config.Tracer == nil {
		config.Tracer = watch
	} else {
		config.Tracer = multitracer.New(config.Tracer, watch)
	}
	db := stdlib.OpenDB(*config)
	defer func() { err = errors.Join(err, db.Close()) }()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return nil, fmt.Errorf("migrations in %s: %w", s.Dir, err)
	}
	results, err := work(provider)
	var partial *goose.PartialError
	if errors.As(err, &partial) {
		results = partial.Applied
	}
	for _, r := range results {
		done = append(done, Applied{Migration: byFile[r.Source.Path], Duration: r.Duration})
	}
	switch {
	case partial != nil:
		return done, watch.fail(byFile[partial.Failed.Source.Path], section, partial.Err)
	case err != nil:
		return done, fmt.Errorf("migrations in %s: %w", s.Dir, err)
	}
	return done, nil
}

// watch is a tracer that knows which statements of the current file goose has sent. goose reports a failure without saying which it was.
type watch struct {
	mu     sync.Mutex
	sent   []string // they went through
	kept   int      // how many of them are committed
	failed string
}

type sentKey struct{}

func (w *watch) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, sentKey{}, data.SQL)
}

func (w *watch) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryEndData) {
	sent, _ := ctx.Value(sentKey{}).(string)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case data.Err != nil:
		w.failed = cmp.Or(w.failed, sent)
	case w.failed != "": // goose rolls back
	case strings.Contains(sent, goose.DefaultTablename) || slices.Contains([]string{"begin", "commit", "rollback"}, sent):
		w.sent, w.kept = nil, 0 // goose's own business, before and after each file
	default:
		w.sent = append(w.sent, sent)
		if conn.PgConn().TxStatus() == 'I' {
			w.kept = len(w.sent)
		}
	}
}

// fail makes the failure of a file, finding the statement by following what was sent through the section. goose drops annotations, and
// carriage returns at the ends of lines, neither of which changes the line or the column of anything else.
func (w *watch) fail(m Migration, section *regexp.Regexp, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := strings.ReplaceAll(m.SQL, "\r\n", "\n")
	at := 0
	if where := section.FindStringIndex(text); where != nil {
		at = where[1]
	}
	for _, sent := range append(slices.Clip(w.sent), w.failed) {
		n := find(text[at:], sent)
		if n < 0 { // it was not sent as it stands: goose filled in environment variables, or an annotation lay inside
			message := sqltext.Statement{Text: w.failed}
			return fail(m, "", message, message, w.kept, err)
		}
		at += n + len(sent)
	}
	message := sqltext.Statement{Text: w.failed, Offset: at - len(w.failed)}
	return fail(m, text, nth(message, 0), message, w.kept, err)
}

// find returns where in text a statement begins, which goose has begin on a line of its own; -1 if nowhere.
func find(text, statement string) int {
	for from := 0; statement != ""; {
		n := strings.Index(text[from:], statement)
		if n < 0 {
			break
		}
		n += from
		if strings.TrimSpace(text[strings.LastIndexByte(text[:n], '\n')+1:n]) == "" {
			return n
		}
		from = n + 1
	}
	return -1
}
