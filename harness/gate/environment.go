package gate

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/server"
)

// environmental reports whether an error is about the machine or the server and not about the migration, or a connection that is lost.
func environmental(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return server.IsTrouble(pg.Code)
	}
	var data DataError
	return err != nil && !errors.As(err, &data)
}
