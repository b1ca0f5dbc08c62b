package stress

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/interlock-pg/interlock/harness/arena"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server"
)

// hangs is how long a client that was told to stop may take before it is given up.
const hangs = 2 * time.Second

// Arena is where this driver runs races.
type Arena struct{ *arena.Arena }

// Open connects to a database of our own.
func Open(ctx context.Context, db *server.Database) (*Arena, error) {
	a, err := arena.Open(ctx, db, nil)
	if err != nil {
		return nil, err
	}
	return &Arena{a}, nil
}

// Play runs a scenario once, for at most limit, and returns what happened. An error means that the round could not be judged: the database
// could not be prepared, or a client panicked, hung, or left a transaction open. What the database refuses a client is no error.
func (a *Arena) Play(ctx context.Context, s race.Scenario, limit time.Duration) (history.Round, error) {
	actors, err := a.prepare(ctx, s, limit)
	if err != nil {
		return history.Round{}, errors.Join(a.blocked(ctx, err), a.Abandon(ctx, nil))
	}

	running, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	h := start(running, s.Clients, actors)
	seen, looks, err := a.watch(ctx, s.Invariants, h.done)
	if err != nil {
		return history.Round{}, errors.Join(a.blocked(ctx, err), h.wait(), a.Abandon(ctx, h.hung))
	}
	if err := h.wait(); err != nil {
		return history.Round{}, errors.Join(err, a.Abandon(ctx, h.hung))
	}
	if err := a.Lost(ctx); err != nil {
		return history.Round{}, err
	}
	if running.Err() != nil {
		err := fmt.Errorf("the clients did not finish within %v: %w", limit, running.Err())
		return history.Round{}, errors.Join(err, a.Abandon(ctx, nil))
	}
	if err := arena.Finish(ctx, s.Clients, arena.Conns(actors)); err != nil {
		return history.Round{}, err
	}
	round := history.Round{Took: history.Duration(h.took.Truncate(time.Microsecond)), Operations: h.operations(), Violations: seen}
	atRest, err := a.Judge(ctx, s.Invariants, round.Operations)
	if err != nil {
		return history.Round{}, errors.Join(a.blocked(ctx, err), a.Abandon(ctx, nil))
	}
	round.Violations = append(round.Violations, atRest...)
	round.Looks = looks
	return round, nil
}

// blocked says what had a lock in the way of the arena's own connections.
func (a *Arena) blocked(ctx context.Context, err error) error {
	return arena.Blocked(ctx, a.Control, err)
}

// prepare puts the starting rows in place and the actors on. An application may take as long as limit for each answer, and have a lock in the way for as
// long; rows take as long as they take.
func (a *Arena) prepare(ctx context.Context, s race.Scenario, limit time.Duration) ([]arena.Actor, error) {
	if err := a.Patience(ctx, limit); err != nil {
		return nil, err
	}
	if err := a.Greet(ctx, s, limit); err != nil {
		return nil, err
	}
	if err := a.Prepare(ctx, s); err != nil {
		return nil, err
	}
	return a.Cast(ctx, s, limit)
}

// heat is one release of all clients.
type heat struct {
	clients  []race.Client
	actors   []arena.Actor
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
func start(ctx context.Context, clients []race.Client, actors []arena.Actor) *heat {
	h := &heat{
		clients: clients, actors: actors, done: make(chan struct{}),
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
	client, actor := h.clients[i], h.actors[i]
	for n, op := range client.Operations {
		h.note(func() { h.doing[i] = op.Kind })
		invoked := time.Since(h.released)
		answer, err := actor.Do(ctx, op)
		returned := time.Since(h.released)
		if ctx.Err() != nil && h.givenUp(i) {
			actor.Close(context.WithoutCancel(ctx))
			return
		}
		h.note(func() {
			h.doing[i] = ""
			h.log[i] = append(h.log[i], arena.Record(client.Name, n, op, answer, invoked, returned))
			if err != nil {
				h.errs = append(h.errs, fmt.Errorf("client %s, operation %d (%s): %w", client.Name, n+1, op.Kind, err))
			}
		})
		if err != nil {
			actor.Close(context.WithoutCancel(ctx)) // whatever state it is in, the next round gets a new one
			return
		}
		if ctx.Err() != nil {
			return
		}
	}
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
