// Package dsn uses a Postgres that is there already, named by a connection string.
package dsn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/server"
)

// defaultTimeout bounds an attempt to connect where the connection string does not.
const defaultTimeout = 10 * time.Second

// Provider connects to the server that [server.Config.DSN] names. It never shows the password in an error.
type Provider struct{}

// Name returns "dsn".
func (Provider) Name() string { return "dsn" }

// Start connects. What the server holds stays untouched but for databases whose names begin with "interlock_".
func (p Provider) Start(ctx context.Context, config server.Config) (*server.Server, error) {
	started := time.Now()
	if config.DSN == "" {
		return nil, &server.UnavailableError{
			Provider: p.Name(), Why: "no connection string was given",
			Try: "--postgres postgres://user@host/database, or --postgres local",
		}
	}
	admin, err := pgx.ParseConfig(config.DSN)
	if err != nil {
		return nil, &server.UnavailableError{
			Provider: p.Name(), Why: "the connection string is not understood: " + reason(err),
			Try: "postgres://user:password@host:5432/database with special characters percent-encoded (@ is %40), or key=value pairs",
		}
	}
	if admin.ConnectTimeout == 0 {
		admin.ConnectTimeout = defaultTimeout
	}
	where := where(admin)
	s, err := server.Open(ctx, server.Instance{Provider: p.Name(), Where: where, Admin: admin, Started: started})
	if connect := new(pgconn.ConnectError); errors.As(err, &connect) {
		return nil, &server.UnavailableError{Provider: p.Name(), Why: "no connection to " + where, Err: connect, Try: advice(connect)}
	}
	return s, err
}

// reason returns what pgx says is wrong, without what it quotes: an unencoded password may have ended up in any part of the string.
func reason(err error) string {
	text := err.Error()
	if _, after, ok := strings.Cut(text, "`: "); ok {
		text = after
	}
	text, _, _ = strings.Cut(text, " (")
	return text
}

// where names the database for people.
func where(config *pgx.ConnConfig) string {
	address := net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	if strings.HasPrefix(config.Host, "/") {
		address = fmt.Sprintf("%s:%d", config.Host, config.Port)
	}
	return address + "/" + config.Database
}

// advice says what to try, by what the server answered, if it did.
func advice(err error) string {
	var pg *pgconn.PgError
	switch {
	case !errors.As(err, &pg):
		return "check that a server listens there (pg_isready -h HOST -p PORT), or --postgres local"
	case strings.HasPrefix(pg.Code, "28"):
		return "check user and password, and pg_hba.conf of the server"
	case pg.Code == "3D000":
		return "name a database that exists, as postgres"
	default:
		return "look into the log of the server, or --postgres local"
	}
}
