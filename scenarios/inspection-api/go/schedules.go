package main

import (
	"context"
	"net/http"
	"time"
)

// newSchedule is the body of a request for a visit.
type newSchedule struct {
	EquipmentSerial string `json:"equipmentSerial"`
	ScheduledFor    string `json:"scheduledFor"` // RFC 3339
}

// schedule is what a client is told of one.
type schedule struct {
	ID              string `json:"id"`
	Status          string `json:"status"`
	EquipmentSerial string `json:"equipmentSerial"`
	ScheduledFor    string `json:"scheduledFor"`
}

// createSchedule plans a visit, unless there is one within half an hour of it.
func (a *api) createSchedule(ctx context.Context, tx transaction, by string, in newSchedule, at time.Time) (reply, error) {
	aed, err := device(ctx, tx, in.EquipmentSerial)
	if err != nil {
		return reply{}, err
	}
	find := findAnyVisit
	if a.form != production {
		find = findVisitInTheWay
		// Until the end of the transaction. The search below is a statement of its own, which sees what was committed while this one waited.
		if _, err := tx.exec(ctx, `select pg_advisory_xact_lock($1::int, $2::int)`, schedulesOfDevice, aed); err != nil {
			return reply{}, err
		}
	}
	var found bool
	if err := tx.queryRow(ctx, `select exists (`+find+`)`, aed, at.Add(-window), at.Add(window)).Scan(&found); err != nil {
		return reply{}, err
	}
	if found {
		return reply{}, refuse(http.StatusConflict, "there is a visit within 30 minutes")
	}
	created := schedule{EquipmentSerial: in.EquipmentSerial, ScheduledFor: in.ScheduledFor}
	err = tx.queryRow(ctx, `
		insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for, created_by)
		values ($1, $2, $3, nullif($4, '')::uuid) returning id::text, status::text`, aed, in.EquipmentSerial, at, by).Scan(&created.ID, &created.Status)
	return reply{http.StatusCreated, created}, err
}

// window is how far apart two visits to a device have to be.
const window = 30 * time.Minute

// schedulesOfDevice is the first half of the advisory lock on the schedules of a device; the second is the device's id.
const schedulesOfDevice = 1

const (
	// findAnyVisit is production's search. Its window is not symmetric: a visit half an hour earlier is in the way, one half an hour later is not. And
	// it finds visits that were cancelled.
	findAnyVisit = `
		select from aedpics.inspection_schedules where aed_data_id = $1 and scheduled_for >= $2 and scheduled_for < $3`

	// findVisitInTheWay finds those that are less than half an hour away, in both directions, and are to take place.
	findVisitInTheWay = `
		select from aedpics.inspection_schedules
		where aed_data_id = $1 and scheduled_for > $2 and scheduled_for < $3 and status <> 'cancelled'`
)
