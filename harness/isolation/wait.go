package isolation

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// patience is how long isolationtester waits before it looks whether a step waits for a lock.
var patience = 10 * time.Millisecond // longer in tests

// firstLook is how long a step has to answer before it is looked at, if it was never seen to wait. Most answer sooner, and cost no look.
const firstLook = 500 * time.Microsecond

// looks is how many times a step is looked at without a pause: a look takes about as long as a step needs to find that it has to wait.
const looks = 4

// longestPause is the longest time between two looks at a step, or at the time that it has taken.
const longestPause = 10 * time.Millisecond

// await waits until the step has answered. If it may block, it also returns when the step waits for a lock, and says so.
func (r *running) await(ctx context.Context, l *launch, mayBlock, retry bool) (blocked bool, err error) {
	s := l.session
	start := time.Now()
	pause := longestPause
	if mayBlock {
		pause = 0
		if !retry && !s.waited[l.Name] {
			pause = firstLook
		}
	}
	cancelled := false
	for look := 1; ; look++ {
		answered, err := s.await(ctx, time.Now().Add(pause))
		r.listen(s)
		if answered || err != nil {
			return false, err
		}
		if mayBlock {
			blocked, err := r.blocked(ctx, s, start)
			r.listen(s)
			switch {
			case err != nil || s.answered:
				return false, err
			case blocked:
				s.waited[l.Name] = true
				return true, nil
			}
			if pause = 0; look >= looks {
				pause = min(time.Duration(look-looks+1)*time.Millisecond, longestPause)
			}
		}
		elapsed := time.Since(start)
		if elapsed > r.config.StepLimit && !cancelled {
			if err := r.cancel(ctx, s); err != nil {
				return false, err
			}
			r.printf("isolationtester: canceling step %s after %d seconds\n", l.Name, int(elapsed.Seconds()))
			cancelled = true
		}
		if elapsed > 2*r.config.StepLimit {
			return false, r.end(nil, "step %s timed out after %d seconds\n", l.Name, int(elapsed.Seconds()))
		}
	}
}

// blocked says whether the session waits for a lock, and will go on to unless a further step is sent. Start is when waiting for it began.
//
// That it waits at this moment is not enough: whom it waits for may be about to let it go. isolationtester looks after ten milliseconds, when most
// such waits are over. We look at once, and so have to see that nothing is about to change: every session that has not answered waits as well, and
// none of them for a time that it has set itself. If that cannot be seen, we wait for as long as isolationtester does.
func (r *running) blocked(ctx context.Context, s *session, start time.Time) (bool, error) {
	for again := false; ; again = true {
		busy := []*session{s}
		for _, other := range r.sessions {
			if other == s || other.active == nil {
				continue
			}
			if err := other.drain(ctx); err != nil {
				return false, err
			}
			if !other.ready {
				busy = append(busy, other)
			}
		}
		waits, err := r.look(ctx, busy)
		if err != nil || !waits[0] {
			return false, err
		}
		if err := s.drain(ctx); err != nil || s.answered {
			return false, err
		}
		if time.Since(start) >= patience {
			return true, nil
		}
		for i, other := range busy {
			if !waits[i] || other.timed {
				return false, nil
			}
		}
		// They were looked at one after another, and one may have been let go by another that has been seen to wait only after that.
		if len(busy) == 1 || again {
			return true, nil
		}
	}
}

// look asks the server which of the sessions wait for a lock of another.
func (r *running) look(ctx context.Context, sessions []*session) ([]bool, error) {
	for _, s := range sessions {
		r.control.front.SendBind(&pgproto3.Bind{PreparedStatement: isBlocked, Parameters: [][]byte{strconv.AppendUint(nil, uint64(s.pid), 10)}})
		r.control.front.SendExecute(&pgproto3.Execute{})
	}
	return r.ask(ctx)
}

// cancel asks the server to cancel what the session does.
func (r *running) cancel(ctx context.Context, s *session) error {
	r.control.front.SendParse(&pgproto3.Parse{Query: "SELECT pg_catalog.pg_cancel_backend(" + strconv.Itoa(int(s.pid)) + ")"})
	r.control.front.SendBind(&pgproto3.Bind{})
	r.control.front.SendExecute(&pgproto3.Execute{})
	_, err := r.ask(ctx)
	return err
}

// ask sends the queries that the control connection has gathered, of which each returns one yes or no, and returns what they did.
func (r *running) ask(ctx context.Context) (answers []bool, err error) {
	r.control.front.SendSync(&pgproto3.Sync{})
	r.control.flush("")
	for {
		said, more, err := r.control.next(ctx)
		switch {
		case err != nil:
			return nil, err
		case !more:
			return answers, nil
		case said.result == nil: // a notification, to which setup has made it listen
		case said.result.table != nil:
			answers = append(answers, said.result.table.rows[0][0] == "t")
		default:
			return nil, r.end(nil, "lock wait query failed: %s", said.result.failure(""))
		}
	}
}
