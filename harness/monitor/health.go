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
		m.state.why = m.why(err)
	}
}

// standing asks for what the server is.
//
// A replica that has replayed all that it has received is level with its primary, however long ago the latest commit was, as long as it receives. One
// that receives nothing may miss anything since.
const standing = `
select pg_is_in_recovery(), pg_is_in_recovery() or current_setting('default_transaction_read_only')::boolean,
	case when not pg_is_in_recovery()
			or pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn() and exists (select from pg_stat_wal_receiver) then 0
		else coalesce(greatest((extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000000)::bigint, 0), 0) end`

// learn takes in what the server is. It takes the look's snapshot.
func (m *Monitor) learn(ctx context.Context, tx pgx.Tx) error {
	var replica, readOnly bool
	var lag int64 // microseconds
	if err := tx.QueryRow(ctx, standing).Scan(&replica, &readOnly, &lag); err != nil {
		return err
	}
	m.state.mu.Lock()
	defer m.state.mu.Unlock()
	m.state.replica, m.state.readOnly, m.state.lag = replica, readOnly, time.Duration(lag)*time.Microsecond
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

// why says what an error means for somebody who wants to know how the database is.
func (m *Monitor) why(err error) string {
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
// those who ask.
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
		interval := max(m.config.Every, w.interval)
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
		case now.Sub(checked) > 3*interval:
			h.Ready, h.Why = false, fmt.Sprintf("no look at %s has succeeded since %s", name, checked.UTC().Format(time.RFC3339))
		}
		if !h.Ready && why != "" {
			h.Why += ": " + why
		}
	}
	return h
}
