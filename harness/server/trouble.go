package server

import (
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// IsTrouble reports whether an error says something of the server, the machine or the connection, and nothing of the statement: it could not be
// reached, or was lost, or its SQLSTATE is of class 08 (connections), 53 (no disk, no memory, too many connections), 57P (the server stops, or has been
// restarted), 58 (files that are missing or cannot be read, as of an extension) or XX (the server's own bugs, corrupt data).
func IsTrouble(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		for _, class := range []string{"08", "53", "57P", "58", "XX"} {
			if strings.HasPrefix(refused.Code, class) {
				return true
			}
		}
		return false
	}
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || err != nil && pgconn.SafeToRetry(err)
}
