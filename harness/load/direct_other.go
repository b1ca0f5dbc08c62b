//go:build !unix

package load

import "github.com/jackc/pgx/v5"

// direct leaves a client's connection as it is.
func direct(*pgx.ConnConfig) {}
