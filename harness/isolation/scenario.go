package isolation

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sqltext"
)

// Scenario returns the spec's sessions as the clients of a race, for drivers that find the orders to run themselves. Each has one operation, which runs
// all steps of the session, each in one message of the simple protocol, and goes on after one that failed, as isolationtester does. It is told "ok", or
// which steps failed, as "40001 at w2"; those that failed for no more than an earlier one are left out. Behind the session's teardown, what it has left
// open is rolled back and discarded, so that races do not depend on those before. What the whole spec sets up is not in it: that is for the database
// to begin with, see [Spec.Setup].
func (s *Spec) Scenario() race.Scenario {
	var scenario race.Scenario
	for _, session := range s.Sessions {
		scenario.Clients = append(scenario.Clients, race.Client{
			Name: session.Name, Prepare: session.prepare, Finish: session.finish, Operations: []race.Operation{session.operation()},
		})
		scenario.AltersSchema = scenario.AltersSchema || session.altersSchema()
	}
	return scenario
}

// altersSchema says whether a statement of the session is one of those that change more than rows. It does not look into functions.
func (s Session) altersSchema() bool {
	for _, sql := range s.blocks() {
		for _, statement := range sqltext.Message(sql) {
			if statement.Begins("alter|comment|create|drop|grant|import|reassign|refresh|revoke|security") {
				return true
			}
		}
	}
	return false
}

// operation runs the steps. The error that it answers is the first one of theirs.
func (s Session) operation() race.Operation {
	names := make([]string, len(s.Steps))
	for i, step := range s.Steps {
		names[i] = step.Name
	}
	return race.Operation{Kind: "steps", Input: names, Do: func(ctx context.Context, conn *pgx.Conn) (answer race.Answer) {
		var failed []string
		for _, step := range s.Steps {
			err := send(ctx, conn, step.SQL)
			if err == nil {
				continue
			}
			if answer.Err == nil {
				answer.Err = fmt.Errorf("step %s: %w", step.Name, err)
			}
			var refused *pgconn.PgError
			switch {
			case !errors.As(err, &refused):
				failed = append(failed, "no answer at "+step.Name)
			case refused.Code != inFailedTransaction || failed == nil:
				failed = append(failed, refused.Code+" at "+step.Name)
			}
			if conn.IsClosed() {
				break
			}
		}
		answer.Outcome = "ok"
		if failed != nil {
			answer.Outcome = race.Outcome(strings.Join(failed, ", "))
		}
		return answer
	}}
}

// inFailedTransaction: 25P02, in_failed_sql_transaction.
const inFailedTransaction = "25P02"

func (s Session) prepare(ctx context.Context, conn *pgx.Conn) error {
	if s.Setup == "" {
		return nil
	}
	return send(ctx, conn, s.Setup)
}

// finish runs the teardown and leaves the session as if it were new. A teardown that fails is no trouble, as it is none to isolationtester.
func (s Session) finish(ctx context.Context, conn *pgx.Conn) error {
	if s.Teardown != "" {
		var refused *pgconn.PgError
		if err := send(ctx, conn, s.Teardown); err != nil && !errors.As(err, &refused) {
			return err
		}
	}
	if conn.PgConn().TxStatus() != 'I' {
		if err := send(ctx, conn, `ROLLBACK`); err != nil {
			return err
		}
	}
	return send(ctx, conn, `DISCARD ALL`)
}

func send(ctx context.Context, conn *pgx.Conn, sql string) error {
	_, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}
