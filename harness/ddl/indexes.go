package ddl

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/interlock-pg/interlock/harness/history"
)

// alone is where CONCURRENTLY must stand.
const alone = "in a file of its own, outside a transaction"

func (s *reading) createIndex(i *pg.IndexStmt) {
	table := s.resolve(i.Relation)
	index := name{table.schema, i.Idxname}
	if i.Idxname != "" {
		defer func() { s.created[index] = true }()
	}
	fixed := s.immutableIndex(table)
	if i.Concurrent {
		s.lock(table, shareUpdateExclusive)
		safe := fixed.GetIndexStmt()
		safe.IfNotExists = false
		s.concurrently("CREATE INDEX CONCURRENTLY", deparse(fixed))
		if i.IfNotExists && s.existed(table) {
			s.find(RuleConcurrentlyExists, history.LevelWarning, 0, &history.Rewrite{SQL: dropFirst(index) + deparse(fixed), Note: alone},
				"If an earlier run was interrupted, or refused by the data, it left an INVALID index of this name: IF NOT EXISTS keeps that one and reports success.")
		}
		return
	}
	s.lockFamily(i.Relation, share)
	if !s.existed(table) {
		return
	}
	kind := s.before.relations[table].Get("kind")
	if kind == "partitioned" && !i.Relation.Inh {
		return // the parent's own index is empty, and made at once
	}
	var rewrite *history.Rewrite
	if kind == "partitioned" {
		rewrite = s.indexByPartition(fixed, table)
	} else {
		safe := fixed.GetIndexStmt()
		sql := ""
		if safe.IfNotExists && i.Idxname != "" {
			sql = dropFirst(index)
		}
		safe.Concurrent, safe.IfNotExists = true, false
		if text := deparse(fixed); text != "" {
			rewrite = &history.Rewrite{SQL: sql + text, Note: alone}
		}
	}
	s.find(RuleIndexBlocks, history.LevelWarning, 0, rewrite, "It takes SHARE on %s: nobody can write to it until the index is built.", s.show(table))
}

func dropFirst(index name) string {
	return "DROP INDEX CONCURRENTLY IF EXISTS " + index.String() + ";\n"
}

// indexByPartition makes the index of each partition first, as CONCURRENTLY is refused for a partitioned table.
func (s *reading) indexByPartition(statement *pg.Node, table name) *history.Rewrite {
	i := statement.GetIndexStmt()
	partitions := s.family(table)[1:]
	for _, p := range partitions {
		if s.before.relations[p].Get("kind") != "" {
			return nil // deeper, or foreign
		}
	}
	if i.Idxname == "" {
		return nil
	}
	parent := i.Idxname
	var sql []string
	i.IfNotExists = false
	i.Relation.Inh = false
	sql = append(sql, deparse(statement))
	for _, p := range partitions {
		i.Idxname, i.Concurrent = parent+"_"+p.name, true
		i.Relation = &pg.RangeVar{Schemaname: p.schema, Relname: p.name, Inh: true, Relpersistence: "p"}
		sql = append(sql, deparse(statement),
			"ALTER INDEX "+name{table.schema, parent}.String()+" ATTACH PARTITION "+name{p.schema, i.Idxname}.String()+";")
	}
	return &history.Rewrite{SQL: strings.Join(sql, "\n"), Note: alone}
}

// concurrently refuses what cannot run in a transaction. The SQL is the statement as it should stand elsewhere.
func (s *reading) concurrently(what, sql string) {
	if !s.inTransaction() {
		return
	}
	if sql == "" {
		sql = s.text() + ";"
	}
	where := "the tool runs the file in one"
	switch {
	case s.begun:
		where = "BEGIN opened one"
	case s.together:
		where = "it is sent in one message with others, which is one"
	}
	f := s.find(RuleConcurrently, history.LevelError, 0, &history.Rewrite{SQL: sql, Note: alone},
		"%s cannot run in a transaction, and %s.", what, where)
	f.SQLState = "25001"
}

func option(options []*pg.Node, option string) bool {
	for _, o := range options {
		if d := o.GetDefElem(); d.GetDefname() == option {
			v := strings.ToLower(d.GetArg().GetString_().GetSval())
			return v != "false" && v != "off" && (d.GetArg().GetInteger() == nil || d.GetArg().GetInteger().Ival != 0)
		}
	}
	return false
}

func (s *reading) reindex(r *pg.ReindexStmt) {
	m, concurrent := share, option(r.Params, "concurrently")
	if concurrent {
		m = shareUpdateExclusive
		s.concurrently("REINDEX CONCURRENTLY", "")
	}
	var tables []name
	switch r.Kind {
	case pg.ReindexObjectType_REINDEX_OBJECT_INDEX:
		if _, o, found := s.resolveIndex(relationParts(r.Relation)); found {
			tables = []name{named(o.Table)}
		}
	case pg.ReindexObjectType_REINDEX_OBJECT_TABLE:
		tables = s.family(s.resolve(r.Relation))
	case pg.ReindexObjectType_REINDEX_OBJECT_SCHEMA:
		tables = s.tables(r.Name)
	default:
		tables = s.tables("")
	}
	for _, t := range tables {
		s.lock(t, m)
	}
	if concurrent || s.before.known && len(s.locks) == 0 {
		return
	}
	safe := s.copyOf()
	safe.GetReindexStmt().Params = append(safe.GetReindexStmt().Params, &pg.Node{Node: &pg.Node_DefElem{DefElem: &pg.DefElem{Defname: "concurrently"}}})
	sql := deparse(safe)
	s.find(RuleReindexBlocks, history.LevelWarning, 0, &history.Rewrite{SQL: sql, Note: alone},
		"It keeps writes out of the table, and ACCESS EXCLUSIVE on the index keeps most reads out too, until the index is built again.")
}

func relationParts(rv *pg.RangeVar) []string {
	if rv.GetSchemaname() == "" {
		return []string{rv.GetRelname()}
	}
	return []string{rv.Schemaname, rv.Relname}
}

func (s *reading) refresh(r *pg.RefreshMatViewStmt) {
	view := s.resolve(r.Relation)
	if r.Concurrent {
		s.lock(view, exclusive)
		return
	}
	s.lock(view, accessExclusive)
	s.rewrites(view)
	if !s.existed(view) || r.SkipData {
		return
	}
	safe := s.copyOf()
	safe.GetRefreshMatViewStmt().Concurrent = true
	s.find(RuleRefreshBlocks, history.LevelWarning, 0,
		&history.Rewrite{SQL: deparse(safe), Note: "it needs a unique index on columns of the view, without WHERE; it may run in a transaction"},
		"It takes ACCESS EXCLUSIVE on %s: nobody can read it until its query has run.", s.show(view))
}

// dropIndexes drops indexes.
func (s *reading) dropIndexes(d *pg.DropStmt) {
	m, known := accessExclusive, false
	if d.Concurrent {
		m = shareUpdateExclusive
		s.concurrently("DROP INDEX CONCURRENTLY", "")
	}
	for _, o := range d.Objects {
		n, index, found := s.resolveIndex(words(o.GetList().GetItems()))
		if found {
			s.lock(named(index.Table), m)
		}
		known = known || !s.created[n] && (found || !s.before.known)
	}
	if d.Concurrent || !known {
		return
	}
	var sql []string
	for _, o := range d.Objects { // CONCURRENTLY drops one at a time
		safe := s.copyOf()
		safe.GetDropStmt().Concurrent, safe.GetDropStmt().Objects = true, []*pg.Node{o}
		sql = append(sql, deparse(safe))
	}
	s.find(RuleDropIndexBlocks, history.LevelWarning, 0, &history.Rewrite{SQL: strings.Join(sql, "\n"), Note: alone},
		"It takes ACCESS EXCLUSIVE on the table: it waits for every transaction there, and all reads and writes wait behind it.")
}
