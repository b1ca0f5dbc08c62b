package gate

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/server"
)

// environmental reports whether an error is not the migration's: the server's, the machine's, or our own.
func environmental(err error) bool {
	var refused *pgconn.PgError
	var data DataError
	return err != nil && (server.IsTrouble(err) || !errors.As(err, &refused) && !errors.As(err, &data))
}
