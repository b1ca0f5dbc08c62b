package stress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
)

// hangs is how long a client that was told to stop may take before it is given up.
const hangs = 2 * time.Second

// Play runs a scenario once, for at most limit, and returns what happened. An error means that the round could not be judged: the database
// could not be prepared, or a client panicked, hung, or left a transaction open. What the database refuses a client is no error.
func (a *Arena) Play(ctx context.Context, s race.Scenario, limit time.Duration) (history.Round, error) {
	if err := a.db.Reset(ctx, a.keeper); err != nil {
		return history.Round{}, err
	}
	if s.Start != nil {
		if err := s.Start(ctx, a.control); err != nil {
			return history.Round{}, fmt.Errorf("starting rows: %w", err)
		}
	}
	conns := make([]*pgx.Conn, len(s.Clients))
	for i, client := range s.Clients {
		conn, err := a.seat(ctx, i, client)
		if err != nil {
			return history.Round{}, err
		}
		conns[i] = conn
	}

	running, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	h := start(running, s.Clients, conns)
	seen, looks, err := a.watch(ctx, s.Invariants, h.done)
	if err != nil {
		return history.Round{}, errors.Join(err, h.wait(), a.abandon(ctx, h.hung))
	}
	if err := h.wait(); err != nil {
		return history.Round{}, errors.Join(err, a.abandon(ctx, h.hung))
	}
	if running.Err() != nil {
		return history.Round{}, fmt.Errorf("the clients did not finish within %v: %w", limit, running.Err())
	}
	round := history.Round{Took: history.Duration(h.took.Truncate(time.Microsecond)), Operations: h.operations(), Violations: seen}
	atRest, err := a.judge(ctx, s.Invariants, round.Operations)
	round.Violations = append(round.Violations, atRest...)
	round.Looks = looks
	return round, err
}

// heat is one release of all clients.
type heat struct {
	clients  []race.Client
	conns    []*pgx.Conn
	released time.Time
	done     chan struct{} // closed when all clients have finished, or have been given up
	took     time.Duration

	mu    sync.Mutex
	log   [][]history.Operation // by client
	doing []string              // the operation that each client is at; empty: none
	errs  []error
	hung  []int // clients that were given up; their connections are theirs
}

// start lines the clients up at a barrier and releases them together.
func start(ctx context.Context, clients []race.Client, conns []*pgx.Conn) *heat {
	h := &heat{
		clients: clients, conns: conns, done: make(chan struct{}),
		log: make([][]history.Operation, len(clients)), doing: make([]string, len(clients)),
	}
	var ready, finished sync.WaitGroup
	release := make(chan struct{})
	ready.Add(len(clients))
	for i := range clients {
		finished.Go(func() {
			ready.Done()
			<-release
			h.run(ctx, i)
		})
	}
	ready.Wait()
	h.released = time.Now()
	close(release)
	go func() {
		defer close(h.done)
		all := make(chan struct{})
		go func() { finished.Wait(); close(all) }()
		select {
		case <-all:
		case <-ctx.Done(): // the clients have been told as well; one that does not listen is given up
			select {
			case <-all:
			case <-time.After(hangs):
				h.giveUp()
			}
		}
		h.took = time.Since(h.released)
	}()
	return h
}

// run has one client do its operations in order.
func (h *heat) run(ctx context.Context, i int) {
	client, conn := h.clients[i], h.conns[i]
	for n, op := range client.Operations {
		h.note(func() { h.doing[i] = op.Kind })
		invoked := time.Since(h.released)
		answer, err := do(ctx, op, conn)
		returned := time.Since(h.released)
		if ctx.Err() != nil && h.givenUp(i) {
			_ = conn.Close(context.WithoutCancel(ctx))
			return
		}
		if err == nil && !conn.IsClosed() && conn.PgConn().TxStatus() != 'I' {
			err = errors.New("left a transaction open; end it before the operation returns")
		}
		h.note(func() {
			h.doing[i] = ""
			h.log[i] = append(h.log[i], record(client.Name, n, op, answer, invoked, returned))
			if err != nil {
				h.errs = append(h.errs, fmt.Errorf("client %s, operation %d (%s): %w", client.Name, n+1, op.Kind, err))
			}
		})
		if err != nil {
			_ = conn.Close(context.WithoutCancel(ctx)) // whatever state it is in, the next round gets a new one
			return
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// do calls the operation and turns a panic of its code into an error.
func do(ctx context.Context, op race.Operation, conn *pgx.Conn) (answer race.Answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return op.Do(ctx, conn).Resolve(), nil
}

func (h *heat) note(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

// giveUp leaves the clients that are still at something to themselves.
func (h *heat) giveUp() {
	h.note(func() {
		for i, kind := range h.doing {
			if kind != "" {
				h.hung = append(h.hung, i)
				h.errs = append(h.errs, fmt.Errorf("client %s hangs in %q and does not heed its context", h.clients[i].Name, kind))
			}
		}
	})
}

// givenUp reports whether a client was given up: nobody reads its record any more.
func (h *heat) givenUp(i int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.hung, i)
}

// abandon ends the sessions of clients that hang, on the server's side, so that their locks are in nobody's way, and forgets their
// connections, which they may still use.
func (a *Arena) abandon(ctx context.Context, hung []int) error {
	for _, i := range hung {
		pid := a.clients[i].conn.PgConn().PID()
		a.clients[i] = seat{}
		if _, err := a.control.Exec(ctx, `select pg_terminate_backend($1)`, int32(pid)); err != nil {
			return fmt.Errorf("ending the session of a client that hangs: %w", err)
		}
	}
	return nil
}

// wait returns when all clients are done, with what went wrong in their own code.
func (h *heat) wait() error {
	<-h.done
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(h.errs...)
}

// operations returns what was done, in the order in which it was begun.
func (h *heat) operations() []history.Operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := slices.Concat(h.log...)
	slices.SortStableFunc(all, func(a, b history.Operation) int { return int(a.Invoked - b.Invoked) })
	return all
}

func record(client string, n int, op race.Operation, answer race.Answer, invoked, returned time.Duration) history.Operation {
	out := history.Operation{
		Client: client, Number: n, Kind: op.Kind, Subject: op.Subject, Slot: op.Slot,
		Outcome: string(answer.Outcome), Row: answer.Row, Attempts: answer.Attempts,
		Invoked:  history.Duration(invoked.Truncate(time.Microsecond)),
		Returned: history.Duration(returned.Truncate(time.Microsecond)),
	}
	if op.Input != nil {
		if raw, err := json.Marshal(op.Input); err == nil {
			out.Input = raw
		}
	}
	if answer.Err != nil {
		out.Message = strings.ToValidUTF8(answer.Err.Error(), "?")
		var pg *pgconn.PgError
		if errors.As(answer.Err, &pg) {
			out.SQLState, out.Message = pg.Code, pg.Message
		}
	}
	return out
}
