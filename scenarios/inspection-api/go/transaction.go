package main

import (
	"context"
	"errors"
	"net/http"
	"regexp"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// attempts is how often a request is tried whose row a constraint has refused. What was in the way is there to be seen the second time, unless
// it has gone again.
const attempts = 3

// perform does what a request asks for, in one transaction at READ COMMITTED.
func (a *api) perform(r *http.Request, by string, in any, work func(context.Context, transaction) (reply, error)) (reply, error) {
	if key := r.Header.Get("Idempotency-Key"); key != "" && a.form == idempotent {
		first := work
		work = func(ctx context.Context, tx transaction) (reply, error) {
			return once(ctx, tx, by, key, r.Method+" "+r.URL.Path, in, first)
		}
	}
	for attempt := 1; ; attempt++ {
		answer, err := a.transact(r.Context(), a.markOf(r), work)
		if a.form == production || !inTheWay(err) || attempt == attempts {
			return answer, err
		}
	}
}

// transact commits what work does, or rolls it back if that returns an error.
func (a *api) transact(ctx context.Context, mark string, work func(context.Context, transaction) (reply, error)) (answer reply, err error) {
	options := pgx.TxOptions{BeginQuery: "begin" + mark, CommitQuery: "commit" + mark}
	err = pgx.BeginTxFunc(ctx, a.pool, options, func(tx pgx.Tx) error {
		answer, err = work(ctx, transaction{tx, mark})
		return err
	})
	return answer, err
}

// transaction runs statements, each with a comment that says which request it belongs to.
type transaction struct {
	tx   pgx.Tx
	mark string
}

func (t transaction) queryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return t.tx.QueryRow(ctx, sql+t.mark, args...)
}

func (t transaction) exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return t.tx.Exec(ctx, sql+t.mark, args...)
}

var traceparent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// markOf returns a comment in the way of sqlcommenter, empty if there is nothing to say. It becomes part of SQL, so nothing but a traceparent may
// be in it.
func (a *api) markOf(r *http.Request) string {
	parent := r.Header.Get("traceparent")
	if !a.mark || !traceparent.MatchString(parent) {
		return ""
	}
	return " /*traceparent='" + parent + "'*/"
}

// device returns the id of a device.
func device(ctx context.Context, tx transaction, serial string) (id int, err error) {
	err = tx.queryRow(ctx, `select id from aedpics.aed_data where equipment_serial = $1`, serial).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		err = refuse(http.StatusNotFound, "unknown device")
	}
	return id, err
}
