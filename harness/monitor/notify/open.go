package notify

import (
	"context"
	"errors"
	"log/slog"

	"github.com/jackc/pgx/v5"
)

// Store says where an outbox may be. At least one of Database and File must be set.
type Store struct {
	Database *pgx.ConnConfig // nil: not in a database
	Create   bool            // make the tables where there are none
	File     string          // for as long as the database is read only, or has no tables and may be given none, or not by our role; empty: none
	Log      *slog.Logger    // where messages are, when that changes; nil: nowhere
}

// Open opens the outbox: in the database, in a file, or, where there are both, in the database whenever that can be written, and in the file meanwhile.
//
// Each of both takes over from the other what was told, and what waits to be sent. What tables that cannot be written keep is dropped when they can
// be, if it was sent from the file. A database that is not there at all is not known to be read only: what is to be told then waits in memory (see
// [Notifier.Observe]).
func Open(ctx context.Context, s Store) (Outbox, error) {
	switch {
	case s.Database == nil && s.File == "":
		return nil, errors.New("there is no place for an outbox; try a database that can be written, or a state file")
	case s.Database == nil:
		return noNil(OpenFile(ctx, s.File))
	case s.File == "":
		return noNil(OpenTable(ctx, s.Database, s.Create))
	}
	return noNil(openEither(ctx, s))
}

// noNil keeps a nil pointer from becoming an interface that is not nil.
func noNil[T Outbox](outbox T, err error) (Outbox, error) {
	if err != nil {
		return nil, err
	}
	return outbox, nil
}
