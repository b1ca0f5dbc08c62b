package repair

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Archive is the table of rows as they were before a repair changed them, in a schema of its own. It is made when first needed.
const Archive = "interlock_archive.rows"

// The advisory lock keeps two repairs that both find no archive from failing each other. To create a schema takes a right on the database, also where
// it is there: who was given one made before may have none.
const makeArchive = `
select pg_advisory_xact_lock(hashtextextended('interlock_archive', 0));
do $$ begin if to_regnamespace('interlock_archive') is null then create schema interlock_archive; end if; end $$;
create table if not exists interlock_archive.rows (
	repair      text not null,
	relation    text not null,
	id          uuid not null,
	invariant   text not null,
	key         text not null,
	before      jsonb not null,
	after       jsonb not null,
	archived_at timestamptz not null default now(),
	undone_at   timestamptz,
	primary key (repair, relation, id)
);
comment on table interlock_archive.rows is 'rows as they were before interlock repair changed them; interlock repair --undo REPAIR restores them'`

// Prepare makes the archive where there is none.
func Prepare(ctx context.Context, conn *pgx.Conn) error {
	var there bool
	if err := conn.QueryRow(ctx, `select to_regclass($1::text) is not null`, Archive).Scan(&there); err != nil {
		return fmt.Errorf("looking for the archive %s: %w", Archive, err)
	}
	if there {
		return nil
	}
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, makeArchive, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		return fmt.Errorf("making the archive %s: %w; try a role that may create a schema in this database", Archive, err)
	}
	return nil
}

// newID returns a name for a repair: when it was, and something that tells two of one second apart.
func newID(now time.Time) string {
	var tail [3]byte
	_, _ = rand.Read(tail[:]) // never fails
	return now.UTC().Format("20060102-150405-") + hex.EncodeToString(tail[:])
}
