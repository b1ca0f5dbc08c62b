package sched

// Without returns rules that lack some, to show what those are there for.
func (r Rules) Without(rules uint32) Rules {
	r.without |= rule(rules)
	return r
}

// The rules by name, for tests.
const (
	RuleFailureFrees    = uint32(ruleFailureFrees)
	RuleSavepoint       = uint32(ruleSavepoint)
	RulePartialRollback = uint32(rulePartialRollback)
	RuleFailedPrints    = uint32(ruleFailedPrints)
	RuleUnseenKey       = uint32(ruleUnseenKey)
	RuleCycle           = uint32(ruleCycle)
	RuleLooks           = uint32(ruleLooks)
	RuleModes           = uint32(ruleModes)
	RuleSerializable    = uint32(ruleSerializable)
	RuleDeferred        = uint32(ruleDeferred)
	RuleContinuations   = uint32(ruleContinuations)
	RuleSnapshot        = uint32(ruleSnapshot)
	RuleCommitShows     = uint32(ruleCommitShows)
	RuleEndFrees        = uint32(ruleEndFrees)
	RuleKeys            = uint32(ruleKeys)
	RuleBare            = uint32(ruleBare)
	RuleOverlap         = uint32(ruleOverlap)
)
