package ddl

import (
	"fmt"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/interlock-pg/interlock/harness/history"
)

func (s *reading) truncate(t *pg.TruncateStmt) {
	var emptied []name
	for _, o := range t.Relations {
		for _, one := range s.family(s.resolve(o.GetRangeVar())) {
			if s.existed(one) {
				emptied = append(emptied, one)
			}
		}
	}
	for i := 0; i < len(emptied); i++ {
		s.lock(emptied[i], accessExclusive)
		s.rewrites(emptied[i])
		if t.Behavior != pg.DropBehavior_DROP_CASCADE {
			continue
		}
		for _, k := range s.foreignKeys(emptied[i]) {
			if _, seen := s.locks[k.from]; !seen && k.to == emptied[i] {
				s.lock(k.from, accessExclusive)
				emptied = append(emptied, k.from)
			}
		}
	}
	if len(emptied) > 0 {
		s.find(RuleDataLoss, history.LevelError, 0, nil,
			"It empties %s, which had rows before the migration, and nothing brings them back. If that is meant, allow it with the reason.", s.shownAll(emptied))
	}
}

func (s *reading) deleteRows(d *pg.DeleteStmt) {
	if n := s.resolve(d.Relation); d.WhereClause == nil && s.existed(n) {
		s.find(RuleDataLoss, history.LevelError, 0, nil,
			"Without WHERE it empties %s, which had rows before the migration. If that is meant, allow it with the reason.", s.show(n))
	}
}

func (s *reading) updateRows(u *pg.UpdateStmt) {
	n := s.resolve(u.Relation)
	if u.WhereClause != nil || !s.existed(n) || len(u.FromClause) > 0 {
		return
	}
	s.find(RuleUpdateWhole, history.LevelWarning, 0, s.inBatches(u, n),
		"Without WHERE it locks every row of %s until the transaction ends, and leaves a dead copy of each. Fill it in batches.", s.show(n))
}

// inBatches writes an update that goes by the primary key, if that is one column.
func (s *reading) inBatches(u *pg.UpdateStmt, n name) *history.Rewrite {
	if len(u.ReturningList) > 0 || u.WithClause != nil || u.Relation.Alias != nil {
		return nil
	}
	for _, o := range s.before.constraints[n] {
		if o.Get("kind") != "primary key" {
			continue
		}
		k := definition(o)
		if k == nil || len(k.Keys) != 1 {
			return nil
		}
		key := quote(last(k.Keys))
		return &history.Rewrite{Note: alone + "; each batch commits", SQL: fmt.Sprintf(strings.TrimPrefix(`
DO $interlock$
DECLARE
	interlock_done %[1]s.%[2]s%%TYPE;
	interlock_upto %[1]s.%[2]s%%TYPE;
BEGIN
	LOOP
		interlock_upto := (SELECT max_key FROM (
			SELECT %[2]s AS max_key FROM %[1]s WHERE interlock_done IS NULL OR %[2]s > interlock_done ORDER BY %[2]s LIMIT 1000) batch
			ORDER BY max_key DESC LIMIT 1);
		EXIT WHEN interlock_upto IS NULL;
		%[3]s WHERE %[2]s <= interlock_upto AND (interlock_done IS NULL OR %[2]s > interlock_done);
		COMMIT;
		interlock_done := interlock_upto;
	END LOOP;
END $interlock$;`, "\n"), s.show(n), key, s.text())}
	}
	return nil
}

func (s *reading) lockTables(l *pg.LockStmt) {
	m := lockTable(l.Mode)
	var locked []name
	for _, o := range l.Relations {
		s.lockFamily(o.GetRangeVar(), m)
		if n := s.resolve(o.GetRangeVar()); s.existed(n) {
			locked = append(locked, n)
		}
	}
	if len(locked) > 0 && m > shareUpdateExclusive {
		s.find(RuleLockTable, history.LevelWarning, 0, nil,
			"It blocks %s of %s until the transaction ends, whatever else that does. Take the lock of the statement that needs it.",
			m.blocks(), s.shownAll(locked))
	}
}

func (s *reading) vacuum(v *pg.VacuumStmt) {
	full := v.IsVacuumcmd && option(v.Options, "full")
	if v.IsVacuumcmd {
		s.concurrently("VACUUM", "")
	}
	var tables []name
	for _, o := range v.Rels {
		if rv := o.GetVacuumRelation().GetRelation(); rv != nil {
			tables = append(tables, s.family(s.resolve(rv))...)
		}
	}
	if len(v.Rels) == 0 {
		tables = s.tables("")
	}
	var copied []name
	for _, t := range tables {
		if s.before.relations[t].Get("kind") != "" && full {
			continue // a partitioned table has no file
		}
		if !full {
			s.lock(t, shareUpdateExclusive)
			continue
		}
		s.lock(t, accessExclusive)
		s.rewrites(t)
		if s.existed(t) {
			copied = append(copied, t)
		}
	}
	if len(copied) > 0 {
		s.find(RuleVacuumFull, history.LevelWarning, 0, &history.Rewrite{SQL: "VACUUM (ANALYZE) " + s.shownAll(copied) + ";", Note: alone + "; it frees room for new rows, not for the disk"},
			"It copies %s under ACCESS EXCLUSIVE: nobody can read or write meanwhile. A plain VACUUM lets everybody through; pg_repack gives room back.",
			s.shownAll(copied))
	}
}

func (s *reading) cluster(c *pg.ClusterStmt) {
	if c.Relation == nil {
		return
	}
	n := s.resolve(c.Relation)
	s.lock(n, accessExclusive)
	s.rewrites(n)
	if s.existed(n) {
		s.find(RuleCluster, history.LevelWarning, 0, nil,
			"It copies %s under ACCESS EXCLUSIVE: nobody can read or write it meanwhile. pg_repack does the same without.", s.show(n))
	}
}
