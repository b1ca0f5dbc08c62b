//go:build !unix

package target

import (
	"context"
	"errors"
	"time"
)

// process is a command with all that it starts; not on this system.
type process struct {
	output *tail
	ended  chan struct{}
	err    error
}

func run(string, []string, []string, time.Duration) (*process, error) {
	return nil, errors.New("starting an application needs a Unix system; try WSL, or an application that runs already (url and listen)")
}

func (p *process) stop(context.Context, time.Duration) error { return nil }

func (p *process) pid() int { return 0 }
