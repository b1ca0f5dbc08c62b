// Package wiretest is for tests of what stands on package wire.
package wiretest

import (
	"context"
	"slices"
	"sync"

	"github.com/interlock-pg/interlock/harness/wire"
)

// ReleaseAll releases every step of a gate as soon as it is held, from a goroutine of its own, until stop.
func ReleaseAll(gate *wire.Gate) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for {
			var held *wire.Session
			if gate.Wait(ctx, func() bool {
				sessions := gate.Sessions()
				i := slices.IndexFunc(sessions, func(s *wire.Session) bool { return s.State().Phase == wire.Holding })
				if i >= 0 {
					held = sessions[i]
				}
				return i >= 0
			}) != nil {
				return
			}
			held.Release(held.State().Step.Index)
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}
