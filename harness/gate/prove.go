package gate

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/server"
)

// proof is what exploring the domain's scenarios came to.
type proof struct {
	fits, fitted bool // the schema after, and the one before
	seen, broken []string
	err          error
}

// prove begins to explore the domain's scenarios at the new schema, beside the trials in which no time counts. What it returns waits for the end.
func (j *judge) prove(ctx context.Context) func() proof {
	once := sync.OnceValue(func() proof { return j.explore(ctx) })
	if j.Domain != nil && j.Domain.Prove != nil && !j.global() {
		go once()
	}
	return once
}

// explore explores them.
func (j *judge) explore(ctx context.Context) (p proof) {
	if j.Domain == nil || j.Domain.Prove == nil {
		return p
	}
	p.err = j.on(ctx, j.before, func(db *server.Database, conn *pgx.Conn) error {
		p.fitted = j.Domain.Fits(ctx, conn) == nil
		err := j.apply(ctx, db.Config("migrations"))
		p.fits = err == nil && j.Domain.Fits(ctx, conn) == nil
		return err
	})
	if p.err != nil || !p.fits {
		return p
	}
	upTo := func(version int64) Apply {
		return func(ctx context.Context, config *pgx.ConnConfig) error {
			_, err := j.Set.Apply(ctx, config, version)
			return err
		}
	}
	before := upTo(j.previous())
	if !p.fitted {
		before = nil
	}
	p.seen, p.broken, p.err = j.Domain.Prove(ctx, before, upTo(j.migration.Version))
	return p
}

// conclusion notes what a proof came to, and sums it up.
func (j *judge) conclusion(p proof, note func(string, ...any)) (string, error) {
	if p.err != nil || !p.fits {
		return "", p.err
	}
	for _, line := range p.seen {
		note("%s", line)
	}
	for _, line := range p.broken {
		j.find(history.Finding{Rule: "invariant-broken", Trial: history.TrialAfter, Level: history.LevelError, Says: line})
	}
	says := count(len(p.seen), "scenario") + " explored"
	switch {
	case len(p.broken) > 0:
		says += fmt.Sprintf(": %d broke what held before", len(p.broken))
	case p.fitted:
		says += ": what held before still holds"
	}
	return says, nil
}
