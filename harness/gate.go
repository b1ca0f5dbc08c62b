package harness

import (
	"context"

	"github.com/interlock-pg/interlock/harness/gate"
	"github.com/interlock-pg/interlock/harness/history"
)

// Gate runs migrations in every situation that production will put them in, and says whether they may ship; see [gate.Config].
func Gate(ctx context.Context, config gate.Config) (history.Run, error) {
	run, err := gate.Run(ctx, config)
	run.Tool = Tool()
	if settings := describeServer(ctx, config.Server, &run.Server); err == nil {
		err = settings
	}
	return run, err
}
