package isolation

import (
	"context"
	"errors"
	"iter"

	"golang.org/x/sync/errgroup"
)

// worker does jobs until there are no more.
type worker[T any] func(ctx context.Context, jobs <-chan job[T]) error

// job is one of the items that are shared out.
type job[T any] struct {
	item T
	done chan<- part // has room for what became of it
}

// part is a part of a transcript, and why it is the last, if it is.
type part struct {
	text []byte
	err  error
}

// share has workers do the items, and hands over what became of each, in the order of the items. It ends with the first error, be it of a worker or of
// done, and when all workers have returned.
func share[T any](caller context.Context, items iter.Seq[T], workers []worker[T], done func(T, part) error) error {
	type promise struct {
		item T
		part <-chan part
	}
	ctx, cancel := context.WithCancel(caller)
	group, ctx := errgroup.WithContext(ctx)
	jobs, promises := make(chan job[T]), make(chan promise, 16*len(workers))
	group.Go(func() error {
		defer close(promises)
		defer close(jobs)
		for item := range items {
			became := make(chan part, 1)
			select {
			case promises <- promise{item, became}:
			case <-ctx.Done():
				return ctx.Err()
			}
			select {
			case jobs <- job[T]{item, became}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for _, work := range workers {
		group.Go(func() error { return work(ctx, jobs) })
	}
	handOver := func() (all bool, err error) {
		for p := range promises {
			select {
			case became := <-p.part:
				if err := done(p.item, became); err != nil {
					return false, err
				}
			case <-ctx.Done():
				return false, nil
			}
		}
		return true, nil
	}
	all, err := handOver()
	if err != nil {
		cancel()
	}
	workErr := group.Wait()
	cancel()
	switch {
	case err != nil && errors.Is(workErr, context.Canceled):
		return err
	case err == nil && workErr == nil && !all: // the workers were done when the caller called it off, the handing over was not
		return caller.Err()
	}
	return errors.Join(err, workErr)
}
