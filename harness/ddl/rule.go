package ddl

import (
	"cmp"
	"slices"

	"github.com/interlock-pg/interlock/harness/history"
)

// Rule is one hazard.
type Rule struct {
	Name string
	Says string // in one sentence
}

// The names of the rules.
const (
	RuleSyntax             = "syntax"
	RuleIndexBlocks        = "index-blocks-writes"
	RuleReindexBlocks      = "reindex-blocks-writes"
	RuleDropIndexBlocks    = "drop-index-blocks"
	RuleRefreshBlocks      = "refresh-blocks-reads"
	RuleConcurrently       = "concurrently-in-transaction"
	RuleConcurrentlyExists = "concurrently-if-not-exists"
	RuleNotImmutable       = "index-not-immutable"
	RuleVolatileDefault    = "volatile-default"
	RuleTypeChange         = "type-change-rewrite"
	RuleNotNullScans       = "not-null-scans"
	RuleAddNotNull         = "add-not-null-column"
	RuleConstraintScans    = "constraint-scans"
	RuleUniqueScans        = "unique-constraint-scans"
	RuleValidateTogether   = "validate-in-same-transaction"
	RuleEnumValue          = "enum-value-in-transaction"
	RuleLockTimeout        = "missing-lock-timeout"
	RuleDropColumn         = "drop-column"
	RuleDropTable          = "drop-table"
	RuleRenameColumn       = "rename-column"
	RuleRenameTable        = "rename-table"
	RuleDataLoss           = "data-loss"
	RuleUpdateWhole        = "update-whole-table"
	RuleLockTable          = "lock-table"
	RuleVacuumFull         = "vacuum-full"
	RuleCluster            = "cluster"
	RuleDropUnqualified    = "drop-index-if-exists-unqualified"
	RuleBeginInside        = "begin-inside-transaction"
)

// Rules are all rules that reading a file can apply.
func Rules() []Rule {
	return []Rule{
		{RuleSyntax, "PostgreSQL's grammar refuses the statement."},
		{RuleIndexBlocks, "CREATE INDEX without CONCURRENTLY keeps writes out of the table while it builds."},
		{RuleReindexBlocks, "REINDEX without CONCURRENTLY keeps writes out of the table, and reads out of the index, while it builds."},
		{RuleDropIndexBlocks, "DROP INDEX without CONCURRENTLY waits for every transaction on the table, and everybody waits behind it."},
		{RuleRefreshBlocks, "REFRESH MATERIALIZED VIEW without CONCURRENTLY keeps readers out while it computes."},
		{RuleConcurrently, "CONCURRENTLY and VACUUM cannot run in a transaction: 25001."},
		{RuleConcurrentlyExists, "CONCURRENTLY IF NOT EXISTS keeps an invalid index that an interrupted run left, and reports success."},
		{RuleNotImmutable, "An index expression or predicate that depends on settings or on the time fails on every database: 42P17."},
		{RuleVolatileDefault, "A new column whose value differs from row to row rewrites the table under ACCESS EXCLUSIVE."},
		{RuleTypeChange, "Changing a column's type rewrites the table under ACCESS EXCLUSIVE, but for a few pairs of types."},
		{RuleNotNullScans, "SET NOT NULL reads the whole table under ACCESS EXCLUSIVE, unless a valid CHECK already proves it."},
		{RuleAddNotNull, "A new NOT NULL column without a default fails as soon as there is a row."},
		{RuleConstraintScans, "A foreign key or CHECK without NOT VALID is checked for all rows under the lock that adds it."},
		{RuleUniqueScans, "UNIQUE and PRIMARY KEY without USING INDEX, and EXCLUDE, build their index under ACCESS EXCLUSIVE."},
		{RuleValidateTogether, "VALIDATE in the transaction that added the constraint holds the lock which NOT VALID was to shorten."},
		{RuleEnumValue, "A new enum value cannot be used in the transaction that adds it: 55P04."},
		{RuleLockTimeout, "A strong lock that waits behind a long transaction makes everybody wait behind it, without end if there is no lock_timeout."},
		{RuleDropColumn, "Dropping a column breaks the release that still runs, and its data is gone."},
		{RuleDropTable, "Dropping a table, a view or a schema breaks the release that still runs, and its data is gone."},
		{RuleRenameColumn, "Renaming a column breaks the release that still runs."},
		{RuleRenameTable, "Renaming a table or view, or moving it to another schema, breaks the release that still runs, unless the same transaction makes a view of the old name."},
		{RuleDataLoss, "TRUNCATE, or DELETE without WHERE, empties a table that was there before."},
		{RuleUpdateWhole, "UPDATE without WHERE locks every row until it ends, and leaves a dead copy of each."},
		{RuleLockTable, "LOCK TABLE keeps others out until the transaction ends."},
		{RuleVacuumFull, "VACUUM FULL copies the table under ACCESS EXCLUSIVE."},
		{RuleCluster, "CLUSTER copies the table under ACCESS EXCLUSIVE."},
		{RuleDropUnqualified, "DROP … IF EXISTS of a name that is in no schema of the path drops nothing, and says nothing."},
		{RuleBeginInside, "BEGIN or COMMIT in a file that the tool runs in a transaction ends or nests the tool's own."},
	}
}

// sortFindings puts them in the order of their places, and of the rules at one place.
func sortFindings(findings []history.Finding) {
	slices.SortStableFunc(findings, func(a, b history.Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
