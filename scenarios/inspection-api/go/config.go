package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// form is which of its versions the service is.
type form string

const (
	production form = "production" // as it ran when the duplicates appeared
	fixed      form = "fixed"      // what stands in the way is found, and is told as a conflict
	idempotent form = "idempotent" // fixed, and a request that comes again with its Idempotency-Key gets the first answer
)

// config is what the environment says.
type config struct {
	form form
	port string
	mark bool // append the request's traceparent to each statement
	pool *pgxpool.Config
}

// readConfig reads the environment, and reports everything that is wrong with it.
func readConfig(getenv func(string) string) (config, error) {
	c := config{form: form(or(getenv("FORM"), string(production))), port: or(getenv("PORT"), "8080"), mark: getenv("MARK") == "1"}
	var wrong []error
	switch c.form {
	case production, fixed, idempotent:
	default:
		wrong = append(wrong, fmt.Errorf("unknown FORM %q; try production, fixed or idempotent", c.form))
	}
	if n, err := strconv.ParseUint(c.port, 10, 16); err != nil || n == 0 {
		wrong = append(wrong, fmt.Errorf("PORT %q is not a port; try 8080", c.port))
	}
	size, err := strconv.ParseInt(or(getenv("POOL"), "5"), 10, 32)
	if err != nil || size < 1 {
		wrong = append(wrong, fmt.Errorf("POOL %q is not a number of connections; try 5", getenv("POOL")))
	}
	if getenv("DATABASE_URL") == "" {
		wrong = append(wrong, errors.New("there is no DATABASE_URL; try postgres://user@127.0.0.1:5432/database"))
	} else if c.pool, err = pgxpool.ParseConfig(getenv("DATABASE_URL")); err != nil {
		wrong = append(wrong, fmt.Errorf("DATABASE_URL: %w; try postgres://user@127.0.0.1:5432/database", err))
	}
	if len(wrong) > 0 {
		return c, errors.Join(wrong...)
	}
	c.pool.MaxConns = int32(size)
	if parameters := c.pool.ConnConfig.RuntimeParams; parameters["application_name"] == "" {
		parameters["application_name"] = "inspection-api"
	}
	if c.mark { // a statement with a mark never comes again, so there is no use in preparing it
		c.pool.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	return c, nil
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
