package notify

import (
	"context"
	"maps"
	"slices"
	"time"
)

// day is how often what nobody wants any more is dropped.
const day = 24 * time.Hour

// tend does what is to be done at a start, until it has succeeded, and then calls begin; and tidies up once a day.
func (n *Notifier) tend(ctx context.Context, begin func()) {
	starting := true
	for ctx.Err() == nil {
		wait := day
		err := n.tidy(ctx, starting)
		n.mu.Lock()
		n.trouble = textOf(err)
		n.mu.Unlock()
		switch {
		case err != nil:
			wait = n.config.Poll
			if ctx.Err() == nil {
				n.config.Log.Warn("cannot get at what is to be sent", "error", err)
			}
		case starting:
			starting = false
			begin()
		}
		select {
		case <-ctx.Done():
		case <-n.config.Clock.After(wait):
		}
	}
}

// tidy drops what is too old. At a start, all else is due: what waited long, what is dead, and what a wrong clock has put off.
func (n *Notifier) tidy(ctx context.Context, starting bool) error {
	watches, err := n.outbox.Watches(ctx)
	if err != nil {
		return err
	}
	now := n.config.Clock.Now()
	for _, watch := range watches {
		var found, dropped map[string]int
		err := n.outbox.Update(ctx, watch, func(b *Book) {
			b.bury(now)
			found, dropped = b.strangers(n.config.Destinations, now)
			for _, d := range n.config.Destinations {
				if starting {
					b.revive(d.Name, now)
				}
			}
		})
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(found)) {
			n.config.Log.Warn("messages wait for a destination that there is none of", "destination", name, "watch", watch,
				"waiting", found[name]-dropped[name], "dropped", dropped[name])
		}
	}
	return nil
}

// strangers counts the messages for destinations that are none of these, and drops those that are too old.
func (b *Book) strangers(known []Destination, now time.Time) (found, dropped map[string]int) {
	found, dropped = map[string]int{}, map[string]int{}
	b.Queue = slices.DeleteFunc(b.Queue, func(m Message) bool {
		if slices.ContainsFunc(known, func(d Destination) bool { return d.Name == m.Destination }) {
			return false
		}
		found[m.Destination]++
		if m.old(now) {
			dropped[m.Destination]++
		}
		return m.old(now)
	})
	return found, dropped
}
