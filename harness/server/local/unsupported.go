//go:build !unix

package local

import (
	"context"
	"time"

	"github.com/interlock-pg/interlock/harness/server"
)

// Provider runs a server from installed binaries; not on this system.
type Provider struct{}

// Name returns "local".
func (Provider) Name() string { return "local" }

// Start says that it does not work here.
func (p Provider) Start(ctx context.Context, config server.Config) (*server.Server, error) {
	return Launch(ctx, p.Name(), time.Now(), config)
}

// Launch says that it does not work here.
func Launch(_ context.Context, provider string, _ time.Time, _ server.Config) (*server.Server, error) {
	return nil, &server.UnavailableError{Provider: provider, Why: "supervising a server needs a Unix system", Try: "--postgres docker, or WSL"}
}

// Find finds nothing here.
func Find(context.Context, server.Config) ([]Installation, error) { return nil, nil }
