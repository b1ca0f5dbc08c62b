package wire

// Phase is what a session is doing, seen from the gate.
type Phase string

// The phases.
const (
	Starting Phase = "starting" // until the server takes commands
	Quiet    Phase = "quiet"    // nothing of the client is held or under way: it computes, waits for something else, or has finished
	Holding  Phase = "holding"  // State.Step is held
	Working  Phase = "working"  // the server is at State.Step, or at something that passes, of kind [Pass]
	Ended    Phase = "ended"    // nothing more will come
	Opaque   Phase = "opaque"   // encrypted, a replication connection, or not the protocol: everything passes, nothing is seen
)

// State is where a session stands.
type State struct {
	Phase    Phase  `json:"phase"`
	Step     Step   `json:"step,omitzero"` // that is held or under way
	Status   Status `json:"status"`        // of the transaction, as far as answers have come
	Waits    int    `json:"waits"`         // notices that the backend waits for a lock, since Step went to it
	Steps    int    `json:"steps"`         // so far, with the one that is held
	Answered int    `json:"answered"`      // of them; more than Release was called for, if one is dropped or lost
	Last     Step   `json:"last,omitzero"` // that was answered
	Result   Result `json:"result,omitzero"`
	Gone     bool   `json:"gone,omitempty"`     // the client disconnected
	Canceled bool   `json:"canceled,omitempty"` // the client asked for the step that is held to be canceled, which it cannot be
	PID      uint32 `json:"pid,omitempty"`
	Name     string `json:"name,omitempty"` // its application_name now, as far as the server has said
	Fatal    Result `json:"fatal,omitzero"` // why the server refused or ended the session, if it said so
}

// State returns where the session stands.
func (c *Core) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := State{
		Phase: Quiet, Status: c.tx.status(), Steps: c.steps, Answered: c.answered, Last: c.last, Result: c.lastResult,
		Gone: c.gone, PID: c.pid, Name: c.name, Fatal: c.fatal,
	}
	switch {
	case c.stage == over || c.closing:
		s.Phase, s.Status = Ended, Unknown
	case c.stage == opaque:
		s.Phase, s.Status = Opaque, Unknown
	case c.stage != talking:
		s.Phase, s.Status = Starting, Unknown
	case c.held.step.Index > 0:
		s.Phase, s.Step, s.Canceled = Holding, c.held.step, c.held.canceled
	case c.flight.active:
		s.Phase, s.Step, s.Waits = Working, c.flight.step, c.flight.waits
	case len(c.queue) > 0 || len(c.segment.bytes) > 0 || len(c.client.partial) > 0 || c.client.body > 0:
		s.Phase, s.Step = Working, Step{Kind: Pass}
	}
	if ours := c.flight.active && (c.flight.mode == inject || c.flight.mode == endOfInject); s.Status == InTransaction && ours || c.tail != noTail {
		s.Status = Implicit
	}
	return s
}
