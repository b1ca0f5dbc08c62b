package main

import (
	"errors"
	"net/http"

	"github.com/jackc/pgx/v5/pgconn"
)

// refusal is an error that the client is told about. Its transaction is rolled back.
type refusal struct {
	status int
	why    string
}

func (r *refusal) Error() string { return r.why }

func refuse(status int, why string) error { return &refusal{status, why} }

// What Postgres says when another row stands in the way.
const (
	uniqueViolation    = "23505"
	exclusionViolation = "23P01"
)

// inTheWay reports whether a constraint has refused the row because of another one.
func inTheWay(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && (refused.Code == uniqueViolation || refused.Code == exclusionViolation)
}

// explain is the one place where an error becomes an answer. In production's form, what a constraint refuses is an error like any other: the
// loser of a race is told that the service failed.
func (a *api) explain(r *http.Request, err error) reply {
	status, why := http.StatusInternalServerError, "internal"
	var told *refusal
	switch {
	case errors.As(err, &told):
		status, why = told.status, told.why
	case a.form != production && inTheWay(err):
		status, why = http.StatusConflict, "somebody else was faster"
	default:
		a.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	return reply{status, map[string]string{"error": why}}
}
