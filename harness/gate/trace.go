package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/ddl"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/schema"
	"github.com/interlock-pg/interlock/harness/server"
)

// walk executes the statements one by one, each in a transaction of its own, and shows what each has done before it commits: how long it took, and the
// connection. Those in a transaction that the file itself begins stay in that; those that cannot be in one are shown when they are done. A statement
// that is refused ends it with an aloneError.
func (j *judge) walk(ctx context.Context, db *server.Database, see func(*ddl.Statement, history.Duration, *pgx.Conn) error) error {
	conn, err := db.Connect(ctx, "migrations")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	send := func(sql string) error {
		_, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		return err
	}
	for i := range j.statements {
		s := &j.statements[i]
		ours := conn.PgConn().TxStatus() == 'I' && !s.Begins("begin|start")
		if ours {
			if err := send("begin"); err != nil {
				return err
			}
		}
		began := time.Now()
		err := send(s.Text)
		var refused *pgconn.PgError
		if ours && errors.As(err, &refused) && refused.Code == "25001" { // it cannot be in a transaction
			if err := send("rollback"); err != nil {
				return err
			}
			began = time.Now()
			err = send(s.Text)
		}
		if err != nil && !environmental(err) {
			return aloneError{s.Line, err}
		}
		if err == nil {
			err = see(s, history.Since(began), conn)
		}
		if err == nil && ours && conn.PgConn().TxStatus() == 'T' {
			err = send("commit")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// aloneError is a statement that was refused when it was sent alone.
type aloneError struct {
	line int
	error
}

// trace looks at what each statement has locked and rewritten. Where reading the file predicted something else, it is said.
func (j *judge) trace(ctx context.Context, t *server.Template) error {
	return j.on(ctx, t, func(db *server.Database, watcher *pgx.Conn) error {
		known, err := relations(ctx, watcher)
		if err != nil {
			return err
		}
		largest := 0
		for _, r := range known {
			largest = max(largest, r.rows)
		}
		err = j.walk(ctx, db, func(s *ddl.Statement, took history.Duration, conn *pgx.Conn) (err error) {
			seen := history.Statement{Line: s.Line, SQL: s.Text, Rows: largest, Took: took, Locks: s.Locks}
			if conn.PgConn().TxStatus() == 'T' { // otherwise they are gone
				if seen.Locks, err = locks(ctx, watcher, conn.PgConn().PID(), known); err != nil {
					return err
				}
			}
			if seen.Rewrote, err = rewrote(ctx, conn, known); err != nil {
				return err
			}
			j.disagree(*s, &seen)
			j.judged.Statements = append(j.judged.Statements, seen)
			return nil
		})
		var alone aloneError
		if errors.As(err, &alone) {
			j.judged.NotCovered = append(j.judged.NotCovered, fmt.Sprintf("the locks of line %d, which alone fails: %v", alone.line, alone.error))
			return nil
		}
		return err
	})
}

// relation is a table or an index that was there before.
type relation struct {
	name  string
	table bool
	file  uint32
	rows  int
}

// relations lists them by OID.
func relations(ctx context.Context, conn *pgx.Conn) (map[uint32]relation, error) {
	rows, err := conn.Query(ctx, `
		select c.oid, format('%I.%I', n.nspname, c.relname), c.relkind in ('r', 'p', 'm', 'v'), coalesce(pg_relation_filenode(c.oid), 0)::bigint,
			greatest(c.reltuples, 0)::bigint
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind in ('r', 'p', 'm', 'v', 'i', 'I') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`)
	if err != nil {
		return nil, err
	}
	known := map[uint32]relation{}
	var oid uint32
	var r relation
	var file int64
	_, err = pgx.ForEachRow(rows, []any{&oid, &r.name, &r.table, &file, &r.rows}, func() error {
		r.file = uint32(file)
		known[oid] = r
		return nil
	})
	return known, err
}

// locks returns the strongest lock that a backend has on each table that was there before, if somebody would wait for it.
func locks(ctx context.Context, conn *pgx.Conn, pid uint32, known map[uint32]relation) ([]history.Lock, error) {
	rows, err := conn.Query(ctx, `select relation, mode from pg_locks where locktype = 'relation' and granted and pid = $1
		and database = (select oid from pg_database where datname = current_database())`, pid)
	if err != nil {
		return nil, err
	}
	taken := map[string][]string{}
	var oid uint32
	var mode string
	_, err = pgx.ForEachRow(rows, []any{&oid, &mode}, func() error {
		if r, ok := known[oid]; ok && r.table {
			taken[r.name] = append(taken[r.name], mode)
		}
		return nil
	})
	return ddl.Locks(taken), err
}

// rewrote returns the tables and indexes that have another file than before, as the transaction itself sees it, and takes note of the new one.
func rewrote(ctx context.Context, conn *pgx.Conn, known map[uint32]relation) ([]string, error) {
	now, err := relations(ctx, conn)
	if err != nil {
		return nil, err
	}
	var names []string
	for oid, is := range now {
		was, ok := known[oid]
		if ok && was.file != is.file && was.file != 0 {
			names = append(names, was.name)
			was.file = is.file
			known[oid] = was
		}
	}
	slices.Sort(names)
	return names, nil
}

// disagree holds what was predicted against what was seen, and says where they differ. A rewrite that was seen is evidence.
func (j *judge) disagree(s ddl.Statement, seen *history.Statement) {
	for i := range s.Findings {
		f := &s.Findings[i]
		for _, table := range seen.Rewrote {
			if _, isTable := j.was.Find(schema.Table, table); isTable && slices.Contains(s.Rewrites, table) {
				f.Evidence = append(f.Evidence, fmt.Sprintf("rewrote the table %s: its file changed; %s at %d rows", table, milliseconds(time.Duration(seen.Took)), seen.Rows))
			}
		}
	}
	for _, table := range s.Rewrites {
		if is, _ := j.was.Find(schema.Table, table); is.Get("kind") == "partitioned" { // it has no file
			continue
		}
		if !slices.Contains(seen.Rewrote, table) && seen.Rows > 0 {
			j.prediction(s, fmt.Sprintf("reading it, %s should have been rewritten; the run did not", table))
		}
	}
	for _, name := range seen.Rewrote {
		if _, isTable := j.was.Find(schema.Table, name); isTable && !slices.Contains(s.Rewrites, name) && !s.Begins("truncate") {
			j.prediction(s, fmt.Sprintf("the run rewrote %s; reading it did not tell", name))
		}
	}
	for _, was := range s.Locks {
		i := slices.IndexFunc(seen.Locks, func(l history.Lock) bool { return l.Table == was.Table })
		if i < 0 || seen.Locks[i].Mode != was.Mode {
			took := "nothing that anybody waits for"
			if i >= 0 {
				took = seen.Locks[i].Mode
			}
			if was.Blocks != "" {
				j.prediction(s, fmt.Sprintf("reading it, it takes %s on %s; the run took %s", was.Mode, was.Table, took))
			}
		}
	}
}

func (j *judge) prediction(s ddl.Statement, says string) {
	j.find(history.Finding{Rule: "prediction", Trial: history.TrialPopulated, Level: history.LevelNote, Line: s.Line, Statement: s.Text, Says: says})
}
