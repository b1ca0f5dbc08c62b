package harness

import (
	"context"
	"errors"

	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/stress"
)

// ground is what the workloads are played on at one stage, one after another. Its databases are made when they are first needed.
type ground struct {
	template *server.Template
	explorer *explore.Explorer
	arena    *stress.Arena // nil: none was needed yet
}

func newGround(t *server.Template) *ground { return &ground{template: t, explorer: explore.New(t)} }

// stress returns the database for playing at full speed.
func (g *ground) stress(ctx context.Context) (*stress.Arena, error) {
	if g.arena != nil {
		return g.arena, nil
	}
	db, err := g.template.Database(ctx)
	if err != nil {
		return nil, err
	}
	if g.arena, err = stress.Open(ctx, db); err != nil {
		return nil, errors.Join(err, db.Drop(context.WithoutCancel(ctx)))
	}
	return g.arena, nil
}

// close drops the databases.
func (g *ground) close(ctx context.Context) error {
	err := g.explorer.Close(ctx)
	if g.arena != nil {
		err = errors.Join(err, g.arena.Close(ctx), g.arena.Database.Drop(ctx))
	}
	return err
}
