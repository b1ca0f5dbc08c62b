package history

// Measurement is what measuring workloads under load came to. What is compared was measured in the same run, in turns.
type Measurement struct {
	Shape    LoadShape     `json:"shape"`
	Arms     []Arm         `json:"arms"`               // in the order in which they were asked for; those of a ramp follow one another
	Harness  Harness       `json:"harness"`            // what measuring itself cost
	Outages  []Outage      `json:"outages,omitempty"`  // when the server did not serve
	Required []Requirement `json:"required,omitempty"` // thresholds
	Baseline *Baseline     `json:"baseline,omitempty"` // an earlier run to compare with
	Lacking  []string      `json:"lacking,omitempty"`  // what was not measured, and why
}

// LoadShape says what load was put on.
type LoadShape struct {
	Clients  []int    `json:"clients"`            // at once; several: a ramp
	Rate     float64  `json:"rate,omitempty"`     // operations a second that arrive, whether the earlier ones are done or not; 0: each client goes on when it has its answer
	Arrivals Arrivals `json:"arrivals,omitempty"` // of an open loop
	For      Duration `json:"for"`                // measured, of all arms together
	Warmup   Duration `json:"warmup"`             // of each arm, not measured
	Slice    Duration `json:"slice"`              // the time for which one arm runs before it is the next one's turn
	Devices  int      `json:"devices"`            // over which the operations spread; 0: an application was asked what its target file says
	Zipf     float64  `json:"zipf"`               // exponent: 0 spreads evenly, 1 makes the n-th device be asked for 1/n as often as the first
	Rows     int      `json:"rows"`               // in each table, before
}

// Arrivals says how the operations of an open loop arrive.
type Arrivals string

// The ways to arrive.
const (
	Constant Arrivals = "constant" // evenly spaced
	Poisson  Arrivals = "poisson"  // independently of one another
)

// Arm is one of the things that are measured side by side: a workload with a defence at a migration, with so many clients.
type Arm struct {
	Scenario string `json:"scenario"`
	Variant  string `json:"variant,omitempty"`
	Says     string `json:"says,omitempty"`
	At       int64  `json:"at"`
	Clients  int    `json:"clients"`
	Base     bool   `json:"base,omitempty"` // the others of its scenario are compared with it

	Verdict    Verdict     `json:"verdict"`
	AsExpected bool        `json:"as_expected"`
	Invariants []Judgement `json:"invariants"` // Broken: looks that found it broken
	Violations []Violation `json:"violations,omitempty"`
	Looks      int         `json:"looks"` // at the invariants
	Trouble    string      `json:"trouble,omitempty"`

	Measured   Duration `json:"measured"`           // how long it was measured
	Operations int      `json:"operations"`         // that got an answer
	Unserved   int      `json:"unserved,omitempty"` // of an open loop: arrived, and were not begun when the slice was over; they count in Latency with the time that they had waited by then
	Throughput float64  `json:"throughput"`         // operations a second
	Latency    Latency  `json:"latency"`            // of an open loop: since the moment at which the operation should have begun

	Kinds    []LoadKind     `json:"kinds"`
	Errors   map[string]int `json:"errors,omitempty"` // operations by the SQLSTATE that they ended with, or the kind of failure where there is none
	Retries  int            `json:"retries"`          // tries beyond the first
	Slices   []Slice        `json:"slices"`
	Cost     *Ratio         `json:"cost,omitempty"`  // its mean latency over that of the base; nil: it is the base, or there are too few slices
	Speed    *Ratio         `json:"speed,omitempty"` // its throughput over that of the base
	Database DatabaseLoad   `json:"database"`
	Knee     bool           `json:"knee,omitempty"` // of a ramp: more clients bring no more
}

// Name returns scenario and variant as they are selected on the command line.
func (a Arm) Name() string { return Cell{Scenario: a.Scenario, Variant: a.Variant}.Name() }

// LoadKind is one kind of operation with one outcome.
type LoadKind struct {
	Kind    string  `json:"kind"`
	Outcome string  `json:"outcome"`
	Count   int     `json:"count"`
	Latency Latency `json:"latency"`
}

// Latency is a distribution, exact to three figures.
type Latency struct {
	Mean Duration `json:"mean"`
	P50  Duration `json:"p50"`
	P90  Duration `json:"p90"`
	P99  Duration `json:"p99"`
	P999 Duration `json:"p999"`
	Max  Duration `json:"max"`
}

// Slice is one turn of an arm.
type Slice struct {
	Turn       int                 `json:"turn"`  // slices of the same turn were measured one after another; from 1
	Began      Duration            `json:"began"` // since the run started
	Took       Duration            `json:"took"`
	Operations int                 `json:"operations"`
	Errors     int                 `json:"errors,omitempty"`
	Mean       Duration            `json:"mean"`
	P50        Duration            `json:"p50"`
	P99        Duration            `json:"p99"`
	Max        Duration            `json:"max"`
	Kinds      map[string]Duration `json:"kinds,omitempty"`     // the mean of each kind of operation
	Yardstick  Duration            `json:"yardstick,omitempty"` // the mean, in the same turn, of operations that no schema has a part in; 0: not known
}

// Ratio is a quotient of two things that were measured in the same turns, with the interval in which it lies with 95 % confidence.
type Ratio struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	Turns int     `json:"turns"`
}

// DatabaseLoad is what the server says about one arm.
type DatabaseLoad struct {
	Waits      []Wait     `json:"waits,omitempty"` // what the clients' sessions were seen at, most often first
	Samples    int        `json:"samples"`         // of sessions that were at work
	Commits    int64      `json:"commits"`
	Rollbacks  int64      `json:"rollbacks"`
	Deadlocks  int64      `json:"deadlocks"`
	TempFiles  int64      `json:"temp_files"`
	TempBytes  int64      `json:"temp_bytes"`
	WALBytes   int64      `json:"wal_bytes"`
	BlocksHit  int64      `json:"blocks_hit"`  // found in shared buffers
	BlocksRead int64      `json:"blocks_read"` // not found there
	Relations  []Relation `json:"relations,omitempty"`
}

// Wait is something that sessions wait for.
type Wait struct {
	Type  string  `json:"type"` // as pg_stat_activity has it; empty: on the processor
	Event string  `json:"event,omitempty"`
	Share float64 `json:"share"` // of the samples
}

// Relation is a table or an index that grew.
type Relation struct {
	Name   string `json:"name"`
	Index  bool   `json:"index,omitempty"`
	Before int64  `json:"before"` // bytes
	After  int64  `json:"after"`
	Dead   int64  `json:"dead,omitempty"` // of a table: dead rows at the end
	Live   int64  `json:"live,omitempty"`
}

// Outage is a time in which operations failed for want of a server.
type Outage struct {
	Arm    string   `json:"arm"`
	Began  Duration `json:"began"` // since the run started
	Ended  Duration `json:"ended"`
	Errors int      `json:"errors"` // operations that failed
	Why    string   `json:"why"`    // the first of their errors
}

// Harness is what measuring itself cost.
type Harness struct {
	CPU   Duration `json:"cpu"` // of this process, while it measured
	Wall  Duration `json:"wall"`
	Share float64  `json:"share"` // of the processors of this machine
}

// Requirement is a threshold of the user's.
type Requirement struct {
	Says    string  `json:"says"` // as typed, as "p99 < 50ms"
	Arm     string  `json:"arm"`
	Was     string  `json:"was"` // as "12.3 ms"
	Verdict Verdict `json:"verdict"`
}

// Baseline is the comparison with an earlier run.
type Baseline struct {
	File      string        `json:"file"`
	Tolerance float64       `json:"tolerance"` // 0.05: five per cent slower is as good
	Against   []BaselineArm `json:"against"`
}

// BaselineArm compares one kind of operation of one arm with the same one of the earlier run.
type BaselineArm struct {
	Arm     string  `json:"arm"`
	Kind    string  `json:"kind,omitempty"` // empty: the arm cannot be compared at all
	Latency Ratio   `json:"latency"`        // now over then, each as a multiple of the yardstick of its own turns
	Verdict Verdict `json:"verdict"`        // violated: slower by more than the tolerance, with 95 % confidence
	Why     string  `json:"why,omitempty"`  // it cannot be compared
}
