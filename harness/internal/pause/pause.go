// Package pause waits for a time to pass.
package pause

import (
	"context"
	"time"
)

// For waits so long, or until the context ends, and returns that context's error then.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
