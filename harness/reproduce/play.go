package reproduce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sqltext"
)

// Operation is a recorded operation of a client: the statements that it sent, and what it was told. The tests that [Go] writes are made of such.
type Operation struct {
	Kind, Slot, Subject string
	Input               string // as JSON; may be empty
	Told                race.Outcome
	Row                 any // that was created or changed: text, or a [Returned]; nil: none
	Sent                []Statement
}

// Statement is one that was sent.
type Statement struct {
	SQL        string
	Parameters []any  // as text; nil is NULL, and a [Returned] what an earlier statement of the client returned
	Fails      string // the SQLSTATE with which it was refused when it was recorded
}

// Returned is a value that a statement of the client returned in its first row. Both count from 0, statements over all operations.
type Returned struct{ Statement, Column int }

// Client returns a client that sends what was recorded, whatever comes of it. It is told what it was told then, but for one thing: when a statement
// is refused now that was not then, that is a conflict.
func Client(name string, settings map[string]string, operations ...Operation) race.Client {
	c := race.Client{Name: name, Settings: settings}
	s := &sender{}
	for _, op := range operations {
		o := race.Operation{Kind: op.Kind, Slot: op.Slot, Subject: op.Subject, Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
			return s.play(ctx, conn, op)
		}}
		if op.Input != "" {
			o.Input = json.RawMessage(op.Input)
		}
		c.Operations = append(c.Operations, o)
	}
	return c
}

// sender remembers what a client's statements returned.
type sender struct{ rows [][]*string }

func (s *sender) play(ctx context.Context, conn *pgx.Conn, op Operation) race.Answer {
	answer := race.Answer{Outcome: op.Told}
	for _, statement := range op.Sent {
		row, err := s.send(ctx, conn, statement)
		s.rows = append(s.rows, row)
		var refused *pgconn.PgError
		switch {
		case err == nil:
		case !errors.As(err, &refused):
			return race.Answer{Err: err}
		case refused.Code == statement.Fails:
			answer.Err = err
		case statement.Fails == "" && answer.Outcome != race.Conflict:
			answer.Outcome, answer.Err = race.Conflict, err
		}
	}
	switch row := s.value(op.Row).(type) {
	case string:
		answer.Row = row
	case *string:
		if row != nil {
			answer.Row = *row
		}
	}
	return answer
}

// value returns v, or what it stands for: a *string, or nil where the statement returned nothing this time.
func (s *sender) value(v any) any {
	from, ok := v.(Returned)
	switch {
	case !ok:
		return v
	case from.Statement >= len(s.rows) || from.Column >= len(s.rows[from.Statement]):
		return nil
	}
	return s.rows[from.Statement][from.Column]
}

// send returns the first row that the statement returns.
func (s *sender) send(ctx context.Context, conn *pgx.Conn, statement Statement) ([]*string, error) {
	parameters := make([]any, len(statement.Parameters))
	for i, p := range statement.Parameters {
		parameters[i] = s.value(p)
	}
	options := []any{pgx.QueryResultFormats{pgx.TextFormatCode}}
	if len(parameters) == 0 { // it may be several in one message
		options = append(options, pgx.QueryExecModeSimpleProtocol)
	}
	rows, err := conn.Query(ctx, statement.SQL, append(options, parameters...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var first []*string
	for rows.Next() {
		if first != nil {
			continue
		}
		for _, v := range rows.RawValues() {
			var text *string
			if v != nil {
				s := string(v)
				text = &s
			}
			first = append(first, text)
		}
	}
	return first, rows.Err()
}

// Schema returns what prepares a template with scripts of SQL, statement by statement.
func Schema(scripts ...string) func(context.Context, *pgx.ConnConfig) error {
	return func(ctx context.Context, config *pgx.ConnConfig) error {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		for _, script := range scripts {
			for _, s := range sqltext.Split(script) {
				if _, err = conn.Exec(ctx, s.Text, pgx.QueryExecModeSimpleProtocol); err != nil {
					return errors.Join(fmt.Errorf("%.60s: %w", s.Text, err), conn.Close(ctx))
				}
			}
		}
		return conn.Close(ctx)
	}
}

// Start returns a scenario's Start that puts the starting rows in place by these statements.
func Start(statements ...string) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, conn *pgx.Conn) error {
		for _, sql := range statements {
			if _, err := conn.Exec(ctx, sql); err != nil {
				return fmt.Errorf("%.60s: %w", sql, err)
			}
		}
		return nil
	}
}
