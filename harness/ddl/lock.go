package ddl

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/schema"
)

// mode is a lock mode, weaker ones first.
type mode int

const (
	none mode = iota
	shareUpdateExclusive
	share
	shareRowExclusive
	exclusive
	accessExclusive
)

var modes = [...]string{"", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"}

func (m mode) String() string { return modes[m] }

func (m mode) blocks() string {
	switch m {
	case none:
		return ""
	case shareUpdateExclusive:
		return "schema changes"
	case accessExclusive:
		return "reads and writes"
	}
	return "writes"
}

// Locks returns the strongest lock of each table, of modes as pg_locks names them, leaving out those that reading and writing rows take as well.
func Locks(taken map[string][]string) []history.Lock {
	var out []history.Lock
	for _, table := range slices.Sorted(maps.Keys(taken)) {
		strongest := none
		for _, name := range taken[table] {
			name = strings.ToUpper(strings.TrimPrefix(upper.ReplaceAllString(strings.TrimSuffix(name, "Lock"), " $0"), " ")) // AccessExclusiveLock
			strongest = max(strongest, mode(max(0, slices.Index(modes[:], name))))
		}
		if strongest != none {
			out = append(out, history.Lock{Table: table, Mode: strongest.String(), Blocks: strongest.blocks()})
		}
	}
	return out
}

var upper = regexp.MustCompile(`[A-Z]`)

// lock predicts a lock on a relation, if it was there before.
func (s *reading) lock(n name, m mode) {
	if !s.existed(n) || m == none {
		return
	}
	if s.locks == nil {
		s.locks = map[name]mode{}
	}
	if _, found := s.locks[n]; !found {
		s.order = append(s.order, n)
	}
	s.locks[n] = max(s.locks[n], m)
}

// lockFamily locks a table and all that inherit from it, unless ONLY was said.
func (s *reading) lockFamily(rv *pg.RangeVar, m mode) {
	n := s.resolve(rv)
	if !rv.GetInh() {
		s.lock(n, m)
		return
	}
	for _, one := range s.family(n) {
		s.lock(one, m)
	}
}

// foreignKey is one that is known.
type foreignKey struct {
	from, to name
	name     string
	columns  []string // of from
	referred []string // of to; empty: its primary key
}

// foreignKeys are those before the file, from or to a table.
func (s *reading) foreignKeys(of name) []foreignKey {
	var out []foreignKey
	for table, constraints := range s.before.constraints {
		for _, k := range constraints {
			if k.Get("kind") != "foreign key" {
				continue
			}
			c := definition(k)
			if c == nil {
				continue
			}
			key := foreignKey{
				from: table, to: s.resolve(c.Pktable), columns: words(c.FkAttrs), referred: words(c.PkAttrs),
				name: cut(k.Name)[2],
			}
			if key.from == of || key.to == of {
				out = append(out, key)
			}
		}
	}
	slices.SortFunc(out, func(a, b foreignKey) int { return strings.Compare(a.from.String()+a.name, b.from.String()+b.name) })
	return out
}

// definition reads a constraint of the catalog.
func definition(o schema.Object) *pg.Constraint {
	node, err := parse("ALTER TABLE t ADD " + o.Get("definition"))
	if err != nil {
		return nil
	}
	if cmds := node.GetAlterTableStmt().GetCmds(); len(cmds) == 1 {
		return cmds[0].GetAlterTableCmd().GetDef().GetConstraint()
	}
	return nil
}

// lockDropped locks what dropping a table takes: its partitions, its parent, and the other end of each foreign key.
func (s *reading) lockDropped(n name) {
	for _, one := range s.family(n) {
		s.lock(one, accessExclusive)
		s.lockKeys(one, nil, "")
	}
	for parent := range strings.SplitSeq(s.before.relations[n].Get("parent"), ", ") {
		if parent != "" {
			s.lock(named(parent), accessExclusive)
			s.lockDefault(named(parent))
		}
	}
}

// lockDefault locks the default partition, which has the rows that are in no other.
func (s *reading) lockDefault(table name) {
	for _, one := range s.family(table)[1:] {
		if s.before.relations[one].Get("bound") == "DEFAULT" {
			s.lock(one, accessExclusive)
		}
	}
}

// lockKeys locks the other end of the foreign keys of a table that are about one of the columns, or have a name. No columns and no name: of all.
func (s *reading) lockKeys(n name, columns []string, constraint string) {
	for _, k := range s.foreignKeys(n) {
		about := columns == nil && constraint == ""
		for _, c := range columns {
			about = about || k.from == n && slices.Contains(k.columns, c) || k.to == n && slices.Contains(k.referred, c)
		}
		if about || constraint != "" && k.from == n && k.name == constraint {
			s.lock(k.from, accessExclusive)
			s.lock(k.to, accessExclusive)
		}
	}
}

// alterMode is the lock that a part of ALTER TABLE takes on the table itself.
func alterMode(c *pg.AlterTableCmd) mode {
	switch c.Subtype {
	case pg.AlterTableType_AT_SetStatistics, pg.AlterTableType_AT_ClusterOn, pg.AlterTableType_AT_DropCluster, pg.AlterTableType_AT_SetOptions,
		pg.AlterTableType_AT_ResetOptions, pg.AlterTableType_AT_ValidateConstraint, pg.AlterTableType_AT_AttachPartition,
		pg.AlterTableType_AT_DetachPartitionFinalize:
		return shareUpdateExclusive
	case pg.AlterTableType_AT_EnableTrig, pg.AlterTableType_AT_EnableAlwaysTrig, pg.AlterTableType_AT_EnableReplicaTrig,
		pg.AlterTableType_AT_DisableTrig, pg.AlterTableType_AT_EnableTrigAll, pg.AlterTableType_AT_DisableTrigAll,
		pg.AlterTableType_AT_EnableTrigUser, pg.AlterTableType_AT_DisableTrigUser:
		return shareRowExclusive
	case pg.AlterTableType_AT_AddConstraint:
		if c.Def.GetConstraint().GetContype() == pg.ConstrType_CONSTR_FOREIGN {
			return shareRowExclusive
		}
	case pg.AlterTableType_AT_DetachPartition:
		if c.Def.GetPartitionCmd().GetConcurrent() {
			return shareUpdateExclusive
		}
	case pg.AlterTableType_AT_SetRelOptions, pg.AlterTableType_AT_ResetRelOptions:
		for _, n := range c.Def.GetList().GetItems() {
			switch n.GetDefElem().GetDefname() {
			case "user_catalog_table", "security_barrier", "security_invoker", "check_option":
				return accessExclusive
			}
		}
		return shareUpdateExclusive
	}
	return accessExclusive
}

// lockTable is what LOCK TABLE asks for, by PostgreSQL's numbers.
func lockTable(number int32) mode {
	switch number {
	case 4:
		return shareUpdateExclusive
	case 5:
		return share
	case 6:
		return shareRowExclusive
	case 7:
		return exclusive
	case 8:
		return accessExclusive
	}
	return none
}

// lockTimeout asks for a lock_timeout before a lock that keeps writers out.
func (s *reading) lockTimeout() {
	var worst name
	for _, n := range s.order {
		if m := s.locks[n]; (m == accessExclusive || m == shareRowExclusive) && m > s.locks[worst] {
			worst = n
		}
	}
	if worst == (name{}) || s.timeout || s.timeoutLocal {
		return
	}
	set := "SET lock_timeout = '250ms';\n"
	note := "and try again when it gives up (55P03)"
	if s.inTransaction() {
		set = "SET LOCAL lock_timeout = '250ms';\n"
	}
	s.find(RuleLockTimeout, history.LevelWarning, 0, &history.Rewrite{SQL: set + s.text() + ";", Note: note},
		"It takes %s on %s without a lock_timeout: while it waits behind one long transaction, all others that want %s wait behind it.",
		s.locks[worst], s.show(worst), wants(s.locks[worst]))
}

func wants(m mode) string {
	if m == accessExclusive {
		return "to read or write"
	}
	return "to write"
}
