package auto

import (
	"context"
	"errors"
	"time"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/embedded"
)

// Finding is what came of trying one way.
type Finding struct {
	Way     string
	Works   bool
	Release string        // as "15.18"
	Where   string        // for people, as in [server.Server]
	Ready   time.Duration // from the call to the first answer
	Why     string        // why it does not work, on one line
	Try     string        // what to do about it, where that is known
	Err     error         // what went wrong; for a way that works, in ending the server
}

// Probe tries every way, one after the other: it starts a server, and stops it. It downloads nothing with embedded, and leaves dsn out where
// there is no [server.Config.DSN]. When ctx ends, so does the list.
func Probe(ctx context.Context, config server.Config) []Finding {
	var findings []Finding
	for _, way := range all {
		switch way.Name() {
		case Provider{}.Name():
			continue // it is the others
		case "dsn":
			if config.DSN == "" {
				continue
			}
		}
		if ctx.Err() != nil {
			break
		}
		findings = append(findings, probe(ctx, way, config))
	}
	return findings
}

func probe(ctx context.Context, way server.Provider, config server.Config) Finding {
	f := Finding{Way: way.Name()}
	if f.Way == (embedded.Provider{}).Name() {
		downloaded, err := embedded.Downloaded(config)
		if err == nil && !downloaded {
			f.Why, f.Try = "not downloaded yet", "--postgres embedded, which downloads it once"
			return f
		}
	}
	s, err := way.Start(ctx, config)
	if err != nil {
		f.Why, f.Err = oneLine(err.Error()), err
		unavailable := new(server.UnavailableError)
		if errors.As(err, &unavailable) {
			f.Why, f.Try = reason(unavailable), unavailable.Try
		}
		return f
	}
	f.Works, f.Release, f.Where, f.Ready = true, s.Release, s.Where, s.Ready
	f.Err = s.Stop(context.WithoutCancel(ctx))
	return f
}
