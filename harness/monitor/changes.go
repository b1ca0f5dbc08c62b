package monitor

import (
	"slices"
	"sync"
)

// changes hands changes on to subscribers.
type changes struct {
	most        int // watches
	mu          sync.Mutex
	closed      bool
	subscribers []chan Change
}

func (c *changes) subscribe() (<-chan Change, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := make(chan Change, c.most)
	if c.closed {
		close(ch)
		return ch, func() {}
	}
	c.subscribers = append(c.subscribers, ch)
	return ch, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if i := slices.Index(c.subscribers, ch); i >= 0 {
			c.subscribers = slices.Delete(c.subscribers, i, i+1)
			close(ch)
		}
	}
}

func (c *changes) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.subscribers {
		close(ch)
	}
	c.subscribers, c.closed = nil, true
}

// publish takes back from each subscriber what it has not received yet, and puts it in again, merged. Nobody else sends, and there is one change of a
// watch at most, so there is room for all.
func (c *changes) publish(change Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.subscribers {
		latest := change
		var others []Change
		for waiting := true; waiting; {
			select {
			case earlier := <-ch:
				if earlier.Result.Watch.Name == change.Result.Watch.Name {
					latest = merge(earlier, latest)
				} else {
					others = append(others, earlier)
				}
			default:
				waiting = false
			}
		}
		for _, other := range others {
			ch <- other
		}
		ch <- latest
	}
}

// merge returns two changes of one watch, of which one followed the other, as one.
func merge(first, second Change) Change {
	return Change{
		Result: second.Result,
		Broke:  byKey(append(without(first.Broke, second.Healed), without(second.Broke, first.Healed)...)),
		Healed: byKey(append(without(first.Healed, second.Broke), without(second.Healed, first.Broke)...)),
	}
}

// without returns the groups whose keys are not among those of others.
func without(groups, others []Group) []Group {
	keys := make(map[string]bool, len(others))
	for _, g := range others {
		keys[g.Key] = true
	}
	var left []Group
	for _, g := range groups {
		if !keys[g.Key] {
			left = append(left, g)
		}
	}
	return left
}
