package notify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// either is an outbox in a database, and in a file for as long as the database cannot be written.
type either struct {
	Store
	table *Table

	mu sync.RWMutex // who uses the outbox holds it for reading
	in Outbox       // the table, or a file; nil: it is not known yet which

	told sync.Map // what was told of each watch, as last seen, for tables that cannot even be read any more: a State by name
}

func openEither(ctx context.Context, s Store) (*either, error) {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	table, err := newTable(ctx, s.Database)
	if err != nil {
		return nil, err
	}
	e := &either{Store: s, table: table}
	if err := e.settle(ctx); err != nil {
		return nil, errors.Join(err, table.Close())
	}
	return e, nil
}

// settle moves to where messages can be written.
func (e *either) settle(ctx context.Context) error {
	standing, reason := e.table.prepare(ctx, e.Create)
	if reason != nil && !unwritable(reason) {
		return reason
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	_, away := e.in.(*File)
	switch {
	case reason == nil && e.in != e.table:
		return e.toTable(ctx)
	case reason != nil && !away:
		if err := e.toFile(ctx, standing.there && standing.readable); err != nil {
			return errors.Join(reason, err)
		}
		e.Log.Warn("messages wait in a file, until they can wait in the database", "file", e.File, "error", reason)
	}
	return nil
}

// toFile moves to the file. Where the tables can be read, it takes over from them, and what was told, as we last saw it, otherwise.
func (e *either) toFile(ctx context.Context, readable bool) error {
	file, err := OpenFile(ctx, e.File)
	if err != nil {
		return err
	}
	if readable {
		err = file.takeOver(ctx, e.table)
	} else {
		states := map[string]State{}
		e.told.Range(func(watch, state any) bool {
			states[watch.(string)] = state.(State)
			return true
		})
		err = file.adopt(ctx, states, nil)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	e.in = file
	return nil
}

// toTable moves to the tables, with what is in the file: at a start too, for a process before us may have left it there.
func (e *either) toTable(ctx context.Context) error {
	file, open := e.in.(*File)
	if !open {
		if _, err := os.Stat(e.File); errors.Is(err, fs.ErrNotExist) {
			e.in = e.table
			return nil
		}
		var err error
		if file, err = OpenFile(ctx, e.File); err != nil {
			return err
		}
	}
	err := e.table.takeOver(ctx, file)
	if err != nil && open {
		return err // and it stays in use
	}
	if err == nil {
		e.in = e.table
	}
	if open {
		e.Log.Info("messages wait in the database again", "file", e.File)
	}
	return errors.Join(err, file.Close())
}

// back moves to the tables, if they can be written again.
func (e *either) back(ctx context.Context) error {
	e.mu.RLock()
	_, away := e.in.(*File)
	e.mu.RUnlock()
	if !away {
		return nil
	}
	return e.settle(ctx)
}

// do does something with the outbox, and does it again where that could not be written, if there is another place.
func (e *either) do(ctx context.Context, what func(Outbox) error) error {
	once := func() error {
		e.mu.RLock()
		defer e.mu.RUnlock()
		return what(e.in)
	}
	err := once()
	if !unwritable(err) {
		return err
	}
	if err := e.settle(ctx); err != nil {
		return err
	}
	return once()
}

// Read implements [Outbox].
func (e *either) Read(ctx context.Context, watch string) (s State, err error) {
	err = e.do(ctx, func(in Outbox) (err error) {
		s, err = in.Read(ctx, watch)
		return err
	})
	if err == nil {
		e.told.Store(watch, s)
	}
	return s, err
}

// Update implements [Outbox].
func (e *either) Update(ctx context.Context, watch string, change func(*Book)) error {
	var s State
	err := e.do(ctx, func(in Outbox) error {
		return in.Update(ctx, watch, func(b *Book) {
			change(b)
			s = b.State
		})
	})
	if err == nil {
		e.told.Store(watch, s)
	}
	return err
}

// Claim implements [Outbox].
func (e *either) Claim(ctx context.Context, destination string, now time.Time, lease time.Duration) (c Claim, err error) {
	err = e.do(ctx, func(in Outbox) (err error) {
		c, err = in.Claim(ctx, destination, now, lease)
		return err
	})
	return c, err
}

// Finish implements [Outbox]. A message may have moved since it was claimed.
func (e *either) Finish(ctx context.Context, m Message, o Outcome) error {
	return e.do(ctx, func(in Outbox) error { return in.Finish(ctx, m, o) })
}

// Watches implements [Outbox].
func (e *either) Watches(ctx context.Context) (watches []string, err error) {
	err = e.do(ctx, func(in Outbox) (err error) {
		watches, err = in.Watches(ctx)
		return err
	})
	return watches, err
}

func (e *either) String() string {
	return fmt.Sprintf("%s, or file %s while that cannot be written", e.table, e.File)
}

// Close implements [Outbox].
func (e *either) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.table.Close()
	if file, open := e.in.(*File); open {
		err = errors.Join(err, file.Close())
	}
	return err
}
