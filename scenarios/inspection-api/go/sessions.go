package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/jackc/pgx/v5"
)

// newSession is the body of a request for a session.
type newSession struct {
	EquipmentSerial string `json:"equipmentSerial"`
}

// session is what a client is told of one.
type session struct {
	ID              string `json:"id"`
	Status          string `json:"status"`
	EquipmentSerial string `json:"equipmentSerial"`
}

// createSession opens a session on a device, or resumes the caller's own. Between the look and the insert there is room for others. The unique index
// on open sessions makes that harmless; without it, both of two callers open one.
func (a *api) createSession(ctx context.Context, tx transaction, by string, in newSession) (reply, error) {
	if _, err := device(ctx, tx, in.EquipmentSerial); err != nil {
		return reply{}, err
	}
	var id, owner string
	err := tx.queryRow(ctx, `
		select id::text, inspector_id::text from aedpics.inspection_sessions
		where equipment_serial = $1 and status in ('active', 'paused') order by started_at, id limit 1`, in.EquipmentSerial).Scan(&id, &owner)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return a.insertSession(ctx, tx, by, in)
	case err != nil:
		return reply{}, err
	case owner != by:
		return reply{}, refuse(http.StatusConflict, "another inspector has an open session on the device")
	}
	return a.resumeSession(ctx, tx, id, by, in)
}

func (a *api) insertSession(ctx context.Context, tx transaction, by string, in newSession) (reply, error) {
	created := session{EquipmentSerial: in.EquipmentSerial}
	err := tx.queryRow(ctx, `
		insert into aedpics.inspection_sessions (equipment_serial, inspector_id) values ($1, $2::uuid) returning id::text, status::text`,
		in.EquipmentSerial, by).Scan(&created.ID, &created.Status)
	return reply{http.StatusCreated, created}, err
}

// resumeSession sets the session active. Production updates it by id alone, and brings back to life what was closed after the look; the others update
// it only if it is still open, and otherwise open a new one.
func (a *api) resumeSession(ctx context.Context, tx transaction, id, by string, in newSession) (reply, error) {
	sql := `
		update aedpics.inspection_sessions
		set status = 'active', resumed_at = now(), last_accessed_at = now(), updated_at = now() where id = $1::uuid`
	if a.form != production {
		sql += ` and status in ('active', 'paused')`
	}
	resumed, err := tx.exec(ctx, sql, id)
	if err != nil {
		return reply{}, err
	}
	if resumed.RowsAffected() == 0 {
		return a.insertSession(ctx, tx, by, in)
	}
	return reply{http.StatusOK, session{id, "active", in.EquipmentSerial}}, nil
}
