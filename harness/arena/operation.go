package arena

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
)

// Actor is what a client does its operations on: a connection of its own, or else an application.
type Actor struct {
	Conn     *pgx.Conn
	Instance race.Instance
}

// Do calls an operation. The error is a mistake of the client's own: it panicked, or left a transaction open that it was not given.
func (a Actor) Do(ctx context.Context, op race.Operation) (answer race.Answer, err error) {
	if a.Conn != nil {
		return Do(ctx, op, a.Conn)
	}
	err = Guard(func() error { answer = op.Ask(ctx, a.Instance).Resolve(); return nil })
	return answer, err
}

// Close closes the connection, whatever state it is in; an application goes on.
func (a Actor) Close(ctx context.Context) {
	if a.Conn != nil {
		_ = a.Conn.Close(ctx)
	}
}

// Do calls an operation on a connection. The error is a mistake of the client's own: it panicked, or left a transaction open that it was not given.
func Do(ctx context.Context, op race.Operation, conn *pgx.Conn) (race.Answer, error) {
	before := conn.PgConn().TxStatus()
	var answer race.Answer
	err := Guard(func() error { answer = op.Do(ctx, conn).Resolve(); return nil })
	if err == nil && before == 'I' && !conn.IsClosed() && conn.PgConn().TxStatus() != 'I' {
		err = errors.New("left a transaction open; end it before the operation returns")
	}
	return answer, err
}

// Guard calls code of the user's own and turns a panic of it into an error.
func Guard(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return call()
}

// Record returns what is kept of the n-th operation of a client; times are since the clients were let go.
func Record(client string, n int, op race.Operation, answer race.Answer, invoked, returned time.Duration) history.Operation {
	out := history.Operation{
		Client: client, Number: n, Kind: op.Kind, Subject: op.Subject, Slot: op.Slot,
		Outcome: string(answer.Outcome), Row: answer.Row, Attempts: answer.Attempts,
		Invoked:  history.Duration(invoked.Truncate(time.Microsecond)),
		Returned: history.Duration(returned.Truncate(time.Microsecond)),
	}
	if op.Input != nil {
		if raw, err := json.Marshal(op.Input); err == nil {
			out.Input = raw
		}
	}
	if answer.Err != nil {
		out.Message = strings.ToValidUTF8(answer.Err.Error(), "?")
		var pg *pgconn.PgError
		if errors.As(answer.Err, &pg) {
			out.SQLState, out.Message = pg.Code, pg.Message
		}
	}
	return out
}

// Ready lets each client prepare, one after another.
func Ready(ctx context.Context, clients []race.Client, conns []*pgx.Conn) error {
	for i, c := range clients {
		if c.Prepare == nil {
			continue
		}
		if err := c.Prepare(ctx, conns[i]); err != nil {
			return fmt.Errorf("client %s, preparing: %w", c.Name, err)
		}
	}
	return nil
}

// Finish lets each client finish that has a connection, one after another.
func Finish(ctx context.Context, clients []race.Client, conns []*pgx.Conn) error {
	for i, c := range clients {
		if c.Finish == nil || conns[i] == nil || conns[i].IsClosed() {
			continue
		}
		if err := c.Finish(ctx, conns[i]); err != nil {
			return fmt.Errorf("client %s, finishing: %w", c.Name, err)
		}
	}
	return nil
}
