package isolation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// backend is a connection to the server, on which one message is sent at a time. It is opened by pgconn, and then spoken to directly: what a session
// says has to be looked at when it is that session's turn, as far as it has come, and answers are not waited for.
type backend struct {
	name  string // of the session
	pid   uint32
	conn  *conn
	front *pgproto3.Frontend

	sent      string   // the message that is being answered
	ahead     []string // those sent behind it already
	postponed []string // those to be sent before the next one, of which the answers are known
	skip      int      // how many answers to such come first
	idle      bool     // no transaction was open when the last answer ended

	inbox    []reply // what came since and was not looked at yet
	answered bool    // a result is among it, or was
	ready    bool    // nothing more will come
	lost     bool    // the connection has gone
	rows     *table  // of the result that is coming in
	between  bool    // one result is complete, and nothing of another has come
}

// reply is something that a backend says: a notice, a notification or a result.
type reply struct {
	notice       string
	notification *pgproto3.NotificationResponse
	result       *result
	behind       bool // it came right behind a result, with which libpq hears it
}

// result is what one statement came to: a table or, if it returns none, nothing of these.
type result struct {
	table *table
	err   *pgproto3.ErrorResponse
	lost  bool   // the connection went instead
	empty bool   // there was no statement
	odd   string // libpq's word for a result that has no place in a spec
}

func connect(ctx context.Context, config *pgx.ConnConfig, name string, statements map[string]string) (*backend, error) {
	opened, err := pgconn.ConnectConfig(ctx, &config.Config)
	if err != nil {
		return nil, fmt.Errorf("connecting session %s: %w", name, err)
	}
	for statement, sql := range statements {
		if _, err := opened.Prepare(ctx, statement, sql, nil); err != nil {
			return nil, errors.Join(fmt.Errorf("preparing %s: %w", statement, err), opened.Close(ctx))
		}
	}
	if err := opened.SyncConn(ctx); err != nil { // pgconn may be reading beside, if a write took long
		return nil, errors.Join(fmt.Errorf("connecting session %s: %w", name, err), opened.Close(ctx))
	}
	taken, err := opened.Hijack()
	if err != nil {
		return nil, errors.Join(err, opened.Close(ctx))
	}
	c := newConn(taken.Conn)
	return &backend{name: name, pid: taken.PID, conn: c, front: pgproto3.NewFrontend(c, c), ready: true, idle: true}, nil
}

// leave asks the server to end the session.
func (b *backend) leave() {
	b.front.Send(&pgproto3.Terminate{})
	_ = b.front.Flush() // it may have gone already
}

// close waits until the server has ended the session, so that nobody is left in the database.
func (b *backend) close() error {
	_ = b.conn.SetReadDeadline(time.Now().Add(time.Second)) // a server that does not end it
	_, _ = io.Copy(io.Discard, b.conn.Conn)
	if err := b.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// send sends a message, and others behind it, of which the answers are read when [backend.follow] is called. That the connection has gone shows when
// an answer is read, behind what the server said before.
func (b *backend) send(sql string, ahead ...string) {
	for _, all := range [][]string{b.postponed, {sql}, ahead} {
		for _, message := range all {
			b.front.SendQuery(&pgproto3.Query{String: message})
		}
	}
	b.skip, b.postponed, b.ahead = len(b.postponed), nil, ahead
	b.flush(sql)
}

// follow goes on to the next message that was sent ahead.
func (b *backend) follow() {
	b.expect(b.ahead[0])
	b.ahead = b.ahead[1:]
}

// flush sends what was given to the frontend. The answer is to sql.
func (b *backend) flush(sql string) {
	b.expect(sql)
	_ = b.front.Flush()
}

func (b *backend) expect(sql string) {
	b.sent, b.answered, b.ready, b.between = sql, false, false, false
}

// await reads until a result has come, and what came with it, or until the time is up. It says whether one has.
func (b *backend) await(ctx context.Context, until time.Time) (bool, error) {
	for !b.answered {
		if came, err := b.receive(ctx, until); !came || err != nil {
			return false, err
		}
	}
	return true, b.drain(ctx)
}

// drain reads what has come, without waiting.
func (b *backend) drain(ctx context.Context) error {
	for !b.ready {
		if came, err := b.receive(ctx, time.Time{}); !came || err != nil {
			return err
		}
	}
	return nil
}

// heartbeat is how often a wait looks whether it was called off.
const heartbeat = 50 * time.Millisecond

// receive reads one message. It says whether one has come until then; without a time, it does not wait.
func (b *backend) receive(ctx context.Context, until time.Time) (bool, error) {
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		b.conn.wait(until, heartbeat)
		message, err := b.front.Receive()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if !time.Now().Before(until) {
				return false, nil
			}
		case err != nil:
			b.lost = true
			b.put(reply{result: &result{lost: true}})
			b.ready = true
			return true, nil
		default:
			b.take(message)
			return true, nil
		}
	}
}

func (b *backend) put(r reply) {
	r.behind = r.result == nil && b.between
	b.between = b.between || r.result != nil
	b.answered = b.answered || r.result != nil
	b.inbox = append(b.inbox, r)
}

// take puts into the inbox what a message says.
func (b *backend) take(message pgproto3.BackendMessage) {
	if b.skip > 0 {
		if _, ok := message.(*pgproto3.ReadyForQuery); ok {
			b.skip--
		}
		return
	}
	switch m := message.(type) {
	case *pgproto3.NoticeResponse:
		b.put(reply{notice: text((*pgproto3.ErrorResponse)(m), b.sent, false)})
	case *pgproto3.NotificationResponse:
		copied := *m
		b.put(reply{notification: &copied})
	case *pgproto3.RowDescription:
		b.rows, b.between = newTable(m.Fields), false
	case *pgproto3.DataRow:
		if b.rows == nil { // its columns were not asked for
			b.rows = &table{}
		}
		b.rows.add(m.Values)
	case *pgproto3.CommandComplete:
		b.put(reply{result: &result{table: b.rows}})
		b.rows = nil
	case *pgproto3.ErrorResponse:
		copied := *m
		b.put(reply{result: &result{err: &copied}})
		b.rows = nil
	case *pgproto3.EmptyQueryResponse:
		b.put(reply{result: &result{empty: true}})
	case *pgproto3.CopyInResponse:
		b.put(reply{result: &result{odd: "PGRES_COPY_IN"}})
		b.front.Send(&pgproto3.CopyFail{Message: "a spec has no rows to copy"})
		_ = b.front.Flush()
	case *pgproto3.CopyOutResponse:
		b.put(reply{result: &result{odd: "PGRES_COPY_OUT"}})
	case *pgproto3.ReadyForQuery:
		b.answered, b.ready, b.idle = true, true, m.TxStatus == 'I'
	}
}

// next returns what the backend said next, and waits for it; false when there is nothing more. What came with a result is in the inbox then.
func (b *backend) next(ctx context.Context) (r reply, more bool, err error) {
	for len(b.inbox) == 0 {
		if b.ready {
			return r, false, nil
		}
		if _, err := b.receive(ctx, time.Now().Add(time.Hour)); err != nil {
			return r, false, err
		}
	}
	r, b.inbox = b.inbox[0], b.inbox[1:]
	if r.result != nil {
		err = b.drain(ctx)
	}
	return r, true, err
}
