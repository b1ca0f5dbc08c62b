package history

import "slices"

// Repair is what resolving violations came to, or would come to where it is only planned.
type Repair struct {
	Database string   `json:"database"`
	ID       string   `json:"id,omitempty"` // under which changed rows are archived; empty: it is a plan
	Keep     string   `json:"keep"`         // which session of a device is kept
	Window   Duration `json:"window"`       // how far apart two visits must be

	Groups []RepairGroup `json:"groups"`           // in the order in which they are taken
	Left   int           `json:"left"`             // groups that break an invariant now that all is done
	Undone *Undone       `json:"undone,omitempty"` // nil: nothing was to be undone
}

// RepairGroup is a group of rows that break an invariant together, and what becomes of each.
type RepairGroup struct {
	Invariant string      `json:"invariant"`
	Key       string      `json:"key"` // of the device that they are about
	Keep      []RepairRow `json:"keep"`
	Cancel    []RepairRow `json:"cancel"`
	State     RepairState `json:"state"`
	Why       string      `json:"why,omitempty"` // what is in the way, where something is
}

// Same reports whether two groups are of the same rows, in the same version, and the same becomes of them.
func (g RepairGroup) Same(other RepairGroup) bool {
	return g.Invariant == other.Invariant && g.Key == other.Key && slices.Equal(g.Keep, other.Keep) && slices.Equal(g.Cancel, other.Cancel)
}

// RepairRow is one row of a group.
type RepairRow struct {
	ID      string `json:"id"`
	Says    string `json:"says"`    // what it is, for people
	Version string `json:"version"` // a fingerprint of all that it holds
}

// RepairState says how far a group is.
type RepairState string

// The states of a group.
const (
	RepairPlanned  RepairState = "planned"
	RepairResolved RepairState = "resolved"
	RepairGone     RepairState = "gone"    // it no longer broke the invariant when it was looked at under lock
	RepairChanged  RepairState = "changed" // it is not what the plan says, and was left alone
	RepairBusy     RepairState = "busy"    // somebody else held its rows for too long; it was left alone
	RepairStuck    RepairState = "stuck"   // what must not be touched breaks the invariant by itself; the rest was resolved
)

// Undone is what came of taking a repair back.
type Undone struct {
	Restored int           `json:"restored"`
	Kept     []ArchivedRow `json:"kept,omitempty"` // rows that were left as they are
}

// ArchivedRow is a row that a repair changed, and that was not restored.
type ArchivedRow struct {
	Table string `json:"table"`
	ID    string `json:"id"`
	Key   string `json:"key"`
	Why   string `json:"why"`
}
