package scenarios

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness"
)

// A stream's clients are the actors of the races, who go on for ever. What one of them does next depends on chance and on what it was told, and
// each keeps only so much, so that the last minute of an hour is like the first.
//
// Of the invariants, a stream has no use for S4, since it knows no slots, and for S6, whose query grows with the square of what was asked.

// stage is where a stream takes place: the rows of [Fill], and the devices among them that its clients ask for.
type stage struct {
	harness.Shape
	first      int // of its devices; nothing is known of them before
	popularity zipf
}

// newStage takes at least one client and one device. Rows are raised to what these need.
func newStage(shape harness.Shape) stage {
	shape.Clients, shape.Devices = max(shape.Clients, 1), max(shape.Devices, 1)
	shape.Rows = max(shape.Rows, shape.Clients, 2*shape.Devices)
	return stage{Shape: shape, first: inUse(shape.Rows), popularity: newZipf(shape.Devices, max(shape.Zipf, 0))}
}

// fill puts the rows in place.
func (s stage) fill(ctx context.Context, conn *pgx.Conn) error {
	if err := Fill(ctx, conn, s.Rows, s.Seed); err != nil {
		return err
	}
	var others bool
	err := conn.QueryRow(ctx, `select exists (select from aedpics.aed_data where equipment_serial <> 'AED-' || lpad(id::text, 7, '0'))`).Scan(&others)
	if err != nil {
		return err
	}
	if others {
		return errors.New("filling the tables of the domain: there were devices before, so the new ones have other ids than a stream's clients ask for; " +
			"try a database as the migrations left it")
	}
	return nil
}

// dice returns a client's chance: its own, and the same in every run.
func (s stage) dice(client int) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(s.Seed), uint64(client)))
}

// device draws one by its popularity.
func (s stage) device(dice *rand.Rand) int { return s.first + s.popularity.draw(dice) }
