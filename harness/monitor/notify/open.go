package notify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Store says where an outbox may be. At least one of Database and File must be set.
type Store struct {
	Database *pgx.ConnConfig // nil: not in a database
	Create   bool            // make the tables where there are none
	File     string          // for a database that is read only, or has no tables and may be given none; empty: none
}

// Open opens the outbox: in the database, if it can be written and has the tables or may be given them, else in the file, if there is one. It is decided
// once: while a database is read only after that, what is to be told waits in memory (see [Notifier.Observe]).
//
// Each takes over from the other what it knows of more recent looks, so that what lasts is not told again. What waits in a file to be sent goes to the
// tables with it; what waits in tables that are read only stays there.
func Open(ctx context.Context, s Store) (Outbox, error) {
	if s.Database == nil && s.File == "" {
		return nil, errors.New("there is no place for an outbox; try a database that can be written, or a state file")
	}
	if s.Database == nil {
		return noNil(OpenFile(ctx, s.File))
	}
	table, err := OpenTable(ctx, s.Database, s.Create)
	if err == nil && s.File != "" {
		if err := table.takeOver(ctx, s.File); err != nil {
			return nil, errors.Join(err, table.Close())
		}
	}
	if err == nil || s.File == "" || !errors.Is(err, ErrReadOnly) && !errors.Is(err, ErrNoTables) {
		return noNil(table, err)
	}
	file, fileErr := OpenFile(ctx, s.File)
	if fileErr != nil {
		return nil, errors.Join(err, fileErr)
	}
	if errors.Is(err, ErrReadOnly) {
		if err := file.takeOver(ctx, s.Database); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	return file, nil
}

// noNil keeps a nil pointer from becoming an interface that is not nil.
func noNil[T Outbox](outbox T, err error) (Outbox, error) {
	if err != nil {
		return nil, err
	}
	return outbox, nil
}

// takeOver copies what was told from tables that can be read only.
func (f *File) takeOver(ctx context.Context, database *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, database)
	if err != nil {
		return fmt.Errorf("connecting to %s:%d: %w; try psql with the same DSN", database.Host, database.Port, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var there bool
	err = conn.QueryRow(ctx, `select coalesce(has_table_privilege(to_regclass('interlock.notify_watch'), 'select'), false)`).Scan(&there)
	if err != nil || !there {
		return err
	}
	rows, _ := conn.Query(ctx, `select watch, state from interlock.notify_watch`)
	var watch string
	var state State
	states := map[string]State{}
	_, err = pgx.ForEachRow(rows, []any{&watch, &state}, func() error {
		states[watch], state = state, State{}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading what was told from %s:%d: %w", database.Host, database.Port, err)
	}
	for watch, state := range states {
		err := f.Update(ctx, watch, func(b *Book) {
			if state.Seen.After(b.State.Seen) {
				b.State = state
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// takeOver moves to the tables what is in a file, if it is there.
func (t *Table) takeOver(ctx context.Context, path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	file, err := OpenFile(ctx, path)
	if err != nil {
		return err
	}
	for watch, book := range file.doc.Watches {
		err = t.Update(ctx, watch, func(b *Book) {
			if book.State.Seen.After(b.State.Seen) {
				b.State = book.State
			}
			for _, m := range book.Queue {
				if slices.ContainsFunc(b.Queue, func(other Message) bool { return other.Event.ID == m.Event.ID }) {
					continue // we were stopped here before
				}
				m.Seq, m.Doubt, m.Claim = 0, !m.fresh(), ""
				b.Queue = append(b.Queue, m)
			}
			b.Queue = upToDate(b.Queue)
		})
		if err == nil && len(book.Queue) > 0 {
			err = file.Update(ctx, watch, func(b *Book) { b.Queue = nil })
		}
		if err != nil {
			break
		}
	}
	return errors.Join(err, file.Close())
}
