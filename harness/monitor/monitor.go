package monitor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/check"
	"github.com/interlock-pg/interlock/harness/history"
)

// ErrUnknownWatch means that nothing of that name is watched.
var ErrUnknownWatch = errors.New("no watch of that name")

// Monitor looks at the watches of a database, and keeps the latest results. Its methods are safe for concurrent use.
type Monitor struct {
	config   Config
	watchers []*watcher
	indexes  *looker
	state    state
	changes  changes

	found   []history.Index // by indexes, whose mu guards these
	foundAt time.Time
	missed  error // the latest look at the indexes

	ctx  context.Context // ends with the monitor
	end  context.CancelFunc
	mu   sync.Mutex // guards those below
	over bool
	runs bool
	work sync.WaitGroup // the looks under way
}

var errEnded = errors.New("the monitor has ended")

// Open returns a monitor that has not looked yet. It asks nothing of the database; the error names all that is wrong with the config. What has been
// opened is ended by [Monitor.Close], or by the end of [Monitor.Run].
func Open(config Config) (*Monitor, error) {
	config, err := config.resolve()
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancelCause(context.Background())
	m := &Monitor{config: config, ctx: ctx, end: func() { end(errEnded) }}
	for _, w := range config.Watches {
		m.watchers = append(m.watchers, newWatcher(m, w))
	}
	m.indexes = &looker{monitor: m, look: m.lookAtIndexes, done: m.tookIndexes}
	m.changes.most = len(m.watchers)
	return m, nil
}

// Run looks at every watch at set times until ctx ends, and then closes the monitor. It can be called once.
func (m *Monitor) Run(ctx context.Context) error {
	m.mu.Lock()
	if m.over || m.runs {
		m.mu.Unlock()
		return errors.New("the monitor runs or has ended; try opening another")
	}
	m.runs = true
	m.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)() // Close ends it too
	var all sync.WaitGroup
	for _, w := range m.watchers {
		all.Go(func() { w.every(ctx) })
	}
	<-ctx.Done()
	m.Close()
	all.Wait()
	return nil
}

// Close ends the looks under way, the connections and the subscriptions, and returns when they have ended. Results can be read ever after.
func (m *Monitor) Close() {
	m.mu.Lock()
	m.over = true
	m.mu.Unlock()
	m.end()
	m.work.Wait()
	m.changes.close()
	for _, l := range m.lookers() {
		l.mu.Lock() // nobody begins a look any more
		l.disconnect()
		l.settle(context.Background()) //nolint:errcheck // it waits for the end
		l.mu.Unlock()
	}
}

func (m *Monitor) lookers() []*looker {
	all := []*looker{m.indexes}
	for _, w := range m.watchers {
		all = append(all, &w.looker)
	}
	return all
}

// start runs a look; false: the monitor has ended.
func (m *Monitor) start(look func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.over {
		m.work.Go(look)
	}
	return !m.over
}

// Watches returns what is watched.
func (m *Monitor) Watches() []Watch { return slices.Clone(m.config.Watches) }

// Result returns the result of a look that began no longer than fresh before the call: the latest one, if it did, and otherwise that of a look that is
// made for all who ask meanwhile. Less than 0: the latest one, of whatever age. The end of ctx ends the waiting, not the look.
//
// After a look that failed, none is made for a while, and its result is returned, whatever its age: unknown. After a look at everything that took more than
// 100 ms, where the next one must be at everything too, none is made sooner than [Config.Share] allows, and the latest result is returned. The error is
// [ErrUnknownWatch], or that of ctx.
func (m *Monitor) Result(ctx context.Context, name string, fresh time.Duration) (Result, error) {
	i := slices.IndexFunc(m.watchers, func(w *watcher) bool { return w.watch.Name == name })
	if i < 0 {
		return Result{}, fmt.Errorf("%q: %w; try one of those that Watches returns", name, ErrUnknownWatch)
	}
	w := m.watchers[i]
	if err := w.ask(ctx, fresh); err != nil {
		return Result{}, fmt.Errorf("waiting for a look at %s: %w", name, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.result, nil
}

// Indexes returns the indexes that ought to be there as they were when the latest look at them that succeeded began, and that time. Fresh is as for
// [Monitor.Result]. The error says why the latest look did not succeed, or is that of ctx; what is returned with it is what was seen before.
func (m *Monitor) Indexes(ctx context.Context, fresh time.Duration) ([]history.Index, time.Time, error) {
	err := m.indexes.ask(ctx, fresh)
	m.indexes.mu.Lock()
	defer m.indexes.mu.Unlock()
	if err == nil {
		err = m.missed
	} else {
		err = fmt.Errorf("waiting for a look at the indexes: %w", err)
	}
	return slices.Clone(m.found), m.foundAt, err
}

func (m *Monitor) lookAtIndexes(ctx context.Context, tx pgx.Tx, began time.Time) error {
	found, err := check.Indexes(ctx, tx, m.config.Indexes)
	if err != nil {
		return err
	}
	m.indexes.mu.Lock()
	defer m.indexes.mu.Unlock()
	m.found, m.foundAt = found, began
	return nil
}

func (m *Monitor) tookIndexes(_ time.Time, took time.Duration, err error) (pause, least time.Duration) {
	m.missed = nil
	if err != nil {
		m.missed = fmt.Errorf("looking at the indexes: %s", m.why(err, took))
	}
	return 0, 0
}

// Changes subscribes to what changes from now on, until stop is called, or the monitor ends, which closes the channel. Nobody waits for a subscriber:
// what one has not taken yet is merged with what comes after it, so that there is no more than one change of each watch for it. Its Result is the latest
// one; Broke and Healed are what has come and gone since the change that was taken before. A group that has come and gone in between is in neither, nor is
// one that has gone and come again.
func (m *Monitor) Changes() (<-chan Change, func()) { return m.changes.subscribe() }
