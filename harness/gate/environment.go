package gate

import (
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// environmental reports whether an error is about the machine or the server and not about the migration: 53 (no disk, no memory, too many
// connections), 57P (the server stops, or has been restarted), 58 (files that are missing or cannot be read, as of an extension), XX (the server's
// own bugs, corrupt data), and a connection that is lost.
func environmental(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		var usage DataError
		return err != nil && !errors.As(err, &usage)
	}
	return slices.Contains([]string{"53", "58", "XX"}, pg.Code[:min(2, len(pg.Code))]) || len(pg.Code) == 5 && pg.Code[:3] == "57P"
}
