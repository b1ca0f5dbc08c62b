package monitor

import (
	"encoding/json"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
)

// Watch is one invariant that is watched.
type Watch struct {
	Invariant string // as "S1"
	Name      string // of what breaks it, in addresses and metrics: lower case with hyphens, as "duplicate-sessions"
	Says      string // what must hold

	// All returns what breaks the invariant, a row for each group, ordered by the key: what the group is about, such as a device (text); how many members
	// it has (bigint); when the first and the last of them began (timestamptz, may be null); and what else there is to say of it (jsonb, an object).
	All string
	// Some is the same for the keys $1 (text[]): those of groups, and those that Changed and Next return, which may be wider, such as a device where a
	// group is one of several of a device. What was written elsewhere makes no difference to it. Empty: every look is at everything.
	Some string
	// Changed returns the keys (text) of what may have been written since $1 (timestamptz); see [Config.Overlap]. It is asked where there is an index for
	// it, as the server plans it. Empty: nothing tells.
	Changed string
	// Next returns the first $2 (bigint) keys (text) after $1 (text; null: of all) in an order of its own, from an index. Empty: there is none.
	Next string
}

// Group is what breaks an invariant together.
type Group struct {
	Key         string
	Members     int
	First, Last *time.Time      // when the first and the last member began; nil: not known
	Facts       json.RawMessage // an object
	Bare        bool            // Facts are left out: of all groups there was more of them than is kept, 8 MiB
	Since       time.Time       // when the monitor first saw (where there are too many: kept) a group with this key, and has seen one ever since
}

// Result is what a look came to. It is not changed after it was returned.
type Result struct {
	Watch   Watch
	Verdict history.Verdict // unknown: the look did not succeed, and Groups are those of the latest one that did
	Why     string          // it is unknown, for people; empty otherwise
	Groups  []Group         // ordered by Key; no more than [Config].Groups
	Total   int             // of groups, with those that are too many to be kept
	Members int             // of all groups, with those too
	Checked time.Time       // when the latest look that succeeded began; zero: none has
	Tried   time.Time       // when the latest look began
	Took    time.Duration   // the latest look that succeeded
	Partial bool            // the latest look was not at everything; see the package's comment
	Whole   time.Time       // everything was looked at since; zero: not yet
	Version uint64          // grows whenever Verdict, Why, Groups, Total or Members change, and never otherwise; 1 is the first
	Changed time.Time       // when the look began that this version is from; zero: there was none
}

// Change is a difference between two results of a watch.
type Change struct {
	Result Result
	Broke  []Group // that were not there before; where there are too many groups to be kept: that were not kept before
	Healed []Group // that are not there any more
}

// Health is how the database is.
type Health struct {
	Ready      bool          // the database is connected, and a look at every watch has succeeded, not too long ago; see [Monitor.Health]
	Why        string        // it is not ready, for people; empty: it is
	Connected  bool          // the latest attempt to reach the database succeeded
	ReadOnly   bool          // the server is in recovery, or its transactions are read only by default: nothing can be repaired there
	Replica    bool          // the server is in recovery
	Lag        time.Duration // of a replica behind its primary, when it was last connected; 0: it is level. Cut off: since its latest commit, or word
	BackingOff time.Duration // until the next look at set times; 0: nothing is in the way
	Success    time.Time     // when the latest look that succeeded ended
}
