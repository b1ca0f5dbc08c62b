package ddl

import (
	"fmt"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// notNull is a CHECK that a column is not null.
type notNull struct {
	column, constraint string
	valid              bool
}

func (s *reading) alterTable(a *pg.AlterTableStmt) {
	if a.Objtype != pg.ObjectType_OBJECT_TABLE && a.Objtype != pg.ObjectType_OBJECT_VIEW && a.Objtype != pg.ObjectType_OBJECT_MATVIEW {
		return
	}
	table := s.resolve(a.Relation)
	for i, n := range a.Cmds {
		c := n.GetAlterTableCmd()
		if c == nil {
			continue
		}
		s.lockAltered(a, table, c)
		p := part{AlterTableCmd: c, table: table, relation: a.Relation, number: i}
		switch c.Subtype {
		case pg.AlterTableType_AT_AddColumn:
			s.addColumn(p)
		case pg.AlterTableType_AT_DropColumn:
			s.dropColumn(p)
		case pg.AlterTableType_AT_AlterColumnType:
			s.changeType(p)
		case pg.AlterTableType_AT_SetNotNull:
			s.setNotNull(p)
		case pg.AlterTableType_AT_AddConstraint:
			s.addConstraint(p)
		case pg.AlterTableType_AT_ValidateConstraint:
			s.validate(p)
		case pg.AlterTableType_AT_SetLogged:
			if !s.before.known || s.before.relations[table].Get("unlogged") != "" {
				s.rewrites(table)
			}
		case pg.AlterTableType_AT_SetUnLogged:
			if s.before.relations[table].Get("unlogged") == "" {
				s.rewrites(table)
			}
		case pg.AlterTableType_AT_SetAccessMethod, pg.AlterTableType_AT_SetTableSpace, pg.AlterTableType_AT_SetExpression:
			s.rewrites(table)
		case pg.AlterTableType_AT_DetachPartition:
			if c.Def.GetPartitionCmd().GetConcurrent() {
				s.concurrently("DETACH PARTITION CONCURRENTLY", "")
			}
		}
	}
}

// part is one of the commands of an ALTER TABLE.
type part struct {
	*pg.AlterTableCmd
	table    name
	relation *pg.RangeVar
	number   int
}

// lockAltered predicts the locks of one command, on the table and on others.
func (s *reading) lockAltered(a *pg.AlterTableStmt, table name, c *pg.AlterTableCmd) {
	m := alterMode(c)
	switch c.Subtype {
	case pg.AlterTableType_AT_AttachPartition, pg.AlterTableType_AT_DetachPartition, pg.AlterTableType_AT_DetachPartitionFinalize:
		s.lock(table, m)
		of := s.resolve(c.Def.GetPartitionCmd().GetName())
		if c.Subtype == pg.AlterTableType_AT_DetachPartition {
			s.lock(of, m)
		} else {
			s.lock(of, accessExclusive)
		}
		if c.Def.GetPartitionCmd().GetConcurrent() {
			return
		}
		s.lockDefault(table)
		return
	case pg.AlterTableType_AT_AddInherit:
		s.lock(table, m)
		s.lock(s.resolve(c.Def.GetRangeVar()), shareUpdateExclusive)
		return
	case pg.AlterTableType_AT_AddColumn:
		for _, k := range c.Def.GetColumnDef().GetConstraints() {
			s.lockReferred(k.GetConstraint())
		}
	case pg.AlterTableType_AT_AddConstraint:
		s.lockReferred(c.Def.GetConstraint())
	case pg.AlterTableType_AT_DropColumn, pg.AlterTableType_AT_AlterColumnType:
		s.lockKeys(table, []string{c.Name}, "")
	case pg.AlterTableType_AT_DropConstraint:
		s.lockKeys(table, nil, c.Name)
	}
	switch c.Subtype {
	case pg.AlterTableType_AT_ChangeOwner, pg.AlterTableType_AT_SetRelOptions, pg.AlterTableType_AT_ResetRelOptions, pg.AlterTableType_AT_SetLogged,
		pg.AlterTableType_AT_SetUnLogged, pg.AlterTableType_AT_SetTableSpace, pg.AlterTableType_AT_SetAccessMethod, pg.AlterTableType_AT_ClusterOn,
		pg.AlterTableType_AT_ReplicaIdentity, pg.AlterTableType_AT_EnableRowSecurity, pg.AlterTableType_AT_DisableRowSecurity:
		s.lock(table, m) // these do not go down to children
	default:
		s.lockFamily(a.Relation, m)
	}
}

// others is the statement without this command; empty if it is the only one.
func (s *reading) others(p part) string {
	rest := s.copyOf()
	a := rest.GetAlterTableStmt()
	if a.Cmds = slices.Delete(a.Cmds, p.number, p.number+1); len(a.Cmds) == 0 {
		return ""
	}
	return deparse(rest) + "\n"
}

// alter writes an ALTER TABLE of the same table.
func (p part) alter(format string, a ...any) string {
	return "ALTER TABLE " + written(p.relation) + " " + fmt.Sprintf(format, a...) + ";"
}
