package gate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/schema"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/migrations"
)

// state is the schema of a database and what its tables hold.
type state struct {
	schema schema.Schema
	rows   contents
}

func look(ctx context.Context, conn *pgx.Conn) (s state, err error) {
	if s.schema, err = schemaOf(ctx, conn); err != nil {
		return s, err
	}
	s.rows, err = take(ctx, conn, s.schema, s.schema)
	return s, err
}

// differs says how a state differs from what it should be, in lines.
func (s state) differs(from state) (lines []string) {
	for _, c := range schema.Diff(from.schema, s.schema) {
		lines = append(lines, c.String())
	}
	fewer, more, changed := from.rows.lost(s.rows)
	lines = append(append(lines, fewer...), more...)
	for _, c := range changed {
		lines = append(lines, "values of "+c+" differ")
	}
	return lines
}

// twice applies the migration a second time: it must be refused, or change nothing.
func (j *judge) twice(ctx context.Context) (done history.Trial, err error) {
	err = j.on(ctx, j.filled, func(db *server.Database, conn *pgx.Conn) error {
		if err := j.apply(ctx, db.Config("migrations")); err != nil {
			return err
		}
		once, err := look(ctx, conn)
		if err != nil {
			return err
		}
		failure, err := refusal(j.apply(ctx, db.Config("migrations")))
		if err != nil {
			return err
		}
		now, err := look(ctx, conn)
		if err != nil {
			return err
		}
		done.State = history.TrialPassed
		differs := now.differs(once)
		switch {
		case len(differs) == 0 && failure != nil:
			done.Says = "run again, it is refused, and changes nothing: " + oneLine(failure)
		case len(differs) == 0:
			done.Says = "run again, it changes nothing"
			if j.Set.Layout == migrations.Goose {
				done.Says += " (goose's ledger)"
			}
		default:
			level := history.LevelWarning // the ledger of its tool keeps it from being run again
			if j.Set.Layout == migrations.Plain {
				level = history.LevelError
			}
			says := "run again, it is not refused and changes the database once more"
			if failure != nil {
				says = "run again, it is refused, but not before it has changed the database once more: " + oneLine(failure)
			}
			done.Says, done.Details = says, differs
			j.find(history.Finding{
				Rule: "twice-changes", Trial: history.TrialTwice, Level: level, Says: says, Evidence: differs,
				Rewrite: &history.Rewrite{Note: "a name for what it creates, and ON CONFLICT DO NOTHING for the rows that it adds"},
			})
		}
		return nil
	})
	return done, err
}

// down reverts the migration: the schema must be as it was, and the rows too; and applies it again.
func (j *judge) down(ctx context.Context) (done history.Trial, err error) {
	if !j.Set.Reverts(j.current()) {
		return history.Trial{State: history.TrialSkipped, Says: "there is no way back in it"}, nil
	}
	err = j.on(ctx, j.filled, func(db *server.Database, conn *pgx.Conn) error {
		config := db.Config("migrations")
		was, err := look(ctx, conn)
		if err != nil {
			return err
		}
		if err := j.apply(ctx, config); err != nil {
			return err
		}
		up, err := look(ctx, conn)
		if err != nil {
			return err
		}
		_, err = j.Set.Down(ctx, config, j.previous())
		failure, err := refusal(err)
		if err != nil {
			return err
		}
		if failure != nil {
			j.find(history.Finding{
				Rule: "down-fails", Trial: history.TrialDown, Level: history.LevelError, SQLState: failure.SQLState,
				Says: fmt.Sprintf("the way back fails: %s:%d: %s; try %s", failure.File, failure.Line, failure.Message, failure.Try), Evidence: evidence(failure),
			})
			done = history.Trial{State: history.TrialFailed, Says: "the way back fails: " + oneLine(failure)}
			return nil
		}
		back, err := look(ctx, conn)
		if err != nil {
			return err
		}
		done = history.Trial{State: history.TrialPassed, Says: "down restores the schema and keeps the rows; up again is the same"}
		differs := back.differs(was)
		differs = slices.DeleteFunc(differs, func(line string) bool { // it may be there for others as well
			stays := strings.HasPrefix(line, "extension ")
			if stays {
				done.Says += "; an extension stays"
			}
			return stays
		})
		if len(differs) > 0 {
			rule, says := "down-differs", "the way back does not lead to the state before"
			if !slices.ContainsFunc(schema.Diff(was.schema, back.schema), func(c schema.Change) bool { return c.Kind != schema.Extension }) {
				rule, says = "down-loses-data", "the way back restores the schema, but not the rows"
			}
			done.Says, done.Details = says, differs
			j.find(history.Finding{Rule: rule, Trial: history.TrialDown, Level: history.LevelError, Says: says, Evidence: differs})
			return nil
		}
		failure, err = refusal(j.apply(ctx, config))
		if err != nil {
			return err
		}
		if failure != nil {
			done.Says = "after the way back, it does not apply again: " + oneLine(failure)
			j.find(history.Finding{Rule: "up-again-fails", Trial: history.TrialDown, Level: history.LevelError, Says: done.Says, Evidence: evidence(failure)})
			return nil
		}
		again, err := look(ctx, conn)
		if err != nil {
			return err
		}
		if differs := again.differs(up); len(differs) > 0 {
			done.Says, done.Details = "after the way back, applying it again leads to another state", differs
			j.find(history.Finding{Rule: "up-again-differs", Trial: history.TrialDown, Level: history.LevelError, Says: done.Says, Evidence: differs})
		}
		return nil
	})
	return done, err
}

// previous returns the version before the one that is judged; 0: it is the first.
func (j *judge) previous() (version int64) {
	for _, m := range j.Set.Migrations {
		if m.Version < j.migration.Version {
			version = m.Version
		}
	}
	return version
}
