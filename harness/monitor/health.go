package monitor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/check"
)

// state is what the looks have found out about the server.
type state struct {
	mu        sync.Mutex
	connected bool
	why       string // it is not
	readOnly  bool
	replica   bool
	lag       time.Duration
	success   time.Time
}

// reached notes how an attempt to reach the database ended.
func (m *Monitor) reached(err error) {
	if m.ctx.Err() != nil {
		return
	}
	m.state.mu.Lock()
	defer m.state.mu.Unlock()
	m.state.connected, m.state.why = err == nil || !isLost(err), ""
	if !m.state.connected {
		m.state.why = m.why(err, 0)
	}
}

// standing is what a server is.
type standing struct {
	readOnly bool
	replica  bool
	level    bool          // it receives, and has replayed all that its primary had when it said the latest it has said
	heard    time.Duration // since then; 0: our role does not see that
	replayed time.Duration // since the latest commit that it has replayed; 0: there was none since it was started
}

// silence is how long a primary with nothing to say may be silent: it is asked after half of wal_receiver_timeout, and given up after all of it.
const silence = time.Minute

// lag is how far a replica is behind. One that is level is so however long ago the latest commit was; but what it knows of its primary may be old, where
// little comes through and neither of them has given the connection up. One that receives nothing may miss anything since the latest commit.
func (s standing) lag() time.Duration {
	switch {
	case !s.replica:
		return 0
	case !s.level:
		return max(s.replayed, 0)
	case s.heard > silence:
		return s.heard
	}
	return 0
}

// learn takes in what the server is. It takes the look's snapshot.
func (m *Monitor) learn(ctx context.Context, tx pgx.Tx) error {
	var s standing
	var heard, replayed int64 // microseconds
	if err := tx.QueryRow(ctx, `
		select r, r or current_setting('default_transaction_read_only')::boolean,
			coalesce(r and w.pid is not null and pg_last_wal_replay_lsn() >= greatest(pg_last_wal_receive_lsn(), w.latest_end_lsn), false),
			coalesce(extract(epoch from clock_timestamp() - w.last_msg_send_time) * 1000000, 0)::bigint,
			coalesce(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000000, 0)::bigint
		from pg_is_in_recovery() r left join pg_stat_wal_receiver w on true`).Scan(&s.replica, &s.readOnly, &s.level, &heard, &replayed); err != nil {
		return err
	}
	s.heard, s.replayed = time.Duration(heard)*time.Microsecond, time.Duration(replayed)*time.Microsecond
	m.state.mu.Lock()
	defer m.state.mu.Unlock()
	m.state.replica, m.state.readOnly, m.state.lag = s.replica, s.readOnly, s.lag()
	return nil
}

// succeeded notes the end of a look that succeeded.
func (m *Monitor) succeeded(ended time.Time) {
	m.state.mu.Lock()
	defer m.state.mu.Unlock()
	if ended.After(m.state.success) {
		m.state.success = ended
	}
}

// why says what an error after so long means for somebody who wants to know how the database is.
func (m *Monitor) why(err error, took time.Duration) string {
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused):
	case errors.Is(err, errNoAnswer), errors.As(err, new(*pgconn.ConnectError)):
		return err.Error()
	case isLost(err):
		return fmt.Sprintf("%v: the connection to %s:%d was lost; it is tried again", err, m.config.Database.Host, m.config.Database.Port)
	default:
		return fmt.Sprintf("%v; try the watch's query in psql: its rows must be as a watch's are", err)
	}
	said := fmt.Sprintf("%s (%s)", refused.Message, refused.Code)
	switch refused.Code {
	case "57014":
		if took < m.config.StatementTimeout {
			return fmt.Sprintf("%s after %v: somebody cancelled the look; it is tried again", said, took.Round(time.Millisecond))
		}
		return fmt.Sprintf("%s after %v; try a longer statement timeout, or an index for the query", said, m.config.StatementTimeout)
	case "57P01", "57P02":
		return said + ": the server was stopped, or somebody ended our session; it is tried again"
	case "57P03":
		return said + ": the server does not serve yet, or not any more; it is tried again"
	case "53300":
		return said + ": the server has no connection to spare; try raising max_connections, or ending some"
	}
	return check.Why(refused)
}

// Health returns how the database is, from what the looks have found out. It asks nothing, and is ready only while looks are made, by [Monitor.Run] or by
// those who ask: the latest that succeeded may be three intervals ago; while one is under way, and three times as long as the latest at everything took.
func (m *Monitor) Health() Health {
	now := m.config.Now()
	m.state.mu.Lock()
	h := Health{
		Ready: true, Connected: m.state.connected, ReadOnly: m.state.readOnly, Replica: m.state.replica, Lag: m.state.lag, Success: m.state.success,
	}
	if !h.Connected {
		h.Ready, h.Why = false, m.state.why
		if h.Why == "" {
			h.Why = "the database has not been asked yet"
		}
	}
	m.state.mu.Unlock()
	for _, w := range m.watchers {
		w.mu.Lock()
		checked, why, name := w.result.Checked, w.result.Why, w.result.Watch.Name
		tolerated := 3 * max(m.config.Every, w.interval)
		if w.under != nil {
			tolerated += min(3*w.parts.cost, m.config.patience())
		}
		if (w.failures > 0 || w.interval > m.config.Every) && w.next.After(now) {
			h.BackingOff = max(h.BackingOff, w.next.Sub(now))
		}
		w.mu.Unlock()
		if !h.Ready {
			continue
		}
		switch {
		case checked.IsZero():
			h.Ready, h.Why = false, "no look at "+name+" has succeeded yet"
		case now.Sub(checked) > tolerated:
			h.Ready, h.Why = false, fmt.Sprintf("no look at %s has succeeded since %s", name, checked.UTC().Format(time.RFC3339))
		}
		if !h.Ready && why != "" {
			h.Why += ": " + why
		}
	}
	return h
}
