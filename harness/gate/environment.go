package gate

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/migrations"
)

// environmental reports whether an error is not the migration's: the server's, the machine's, or our own.
func environmental(err error) bool {
	var refused *pgconn.PgError
	return err != nil && (server.IsTrouble(err) || !errors.As(err, &refused))
}

// refusal tells what a migration was refused with from an error of the environment.
func refusal(err error) (*migrations.Error, error) {
	var refused *migrations.Error
	if errors.As(err, &refused) && !environmental(refused.Err) {
		return refused, nil
	}
	return nil, err
}
