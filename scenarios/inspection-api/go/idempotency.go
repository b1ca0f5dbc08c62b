package main

import (
	"context"
	"encoding/json"
	"net/http"
)

// once does work unless it has been done under this key before; then it returns what was answered. Key, answer and what the work wrote are committed
// together, so there is never one without the other.
//
// While the first attempt is still running, the insert of its key waits for it. If that commits, its answer is there; if it rolls back, the key is
// free, and this attempt does the work. So what was refused is not remembered: nothing came of it, and it may be tried again.
func once(ctx context.Context, tx transaction, by, key, endpoint string, in any,
	work func(context.Context, transaction) (reply, error),
) (reply, error) {
	text, err := json.Marshal(in)
	if err != nil {
		return reply{}, err
	}
	request := endpoint + " " + string(text)
	if len(key) > 255 {
		return reply{}, refuse(http.StatusBadRequest, "Idempotency-Key is longer than 255 characters")
	}
	inserted, err := tx.exec(ctx, `
		insert into aedpics.idempotency_keys (caller, key, request) values ($1, $2, $3) on conflict do nothing`, by, key, request)
	if err != nil {
		return reply{}, err
	}
	if inserted.RowsAffected() == 0 {
		return remembered(ctx, tx, by, key, request)
	}
	answer, err := work(ctx, tx)
	if err != nil {
		return reply{}, err
	}
	body, err := json.Marshal(answer.body)
	if err != nil {
		return reply{}, err
	}
	_, err = tx.exec(ctx, `
		update aedpics.idempotency_keys set status = $3::int, answer = $4::json where caller = $1 and key = $2`, by, key, answer.status, string(body))
	return answer, err
}

// remembered returns the answer that was given under a key.
func remembered(ctx context.Context, tx transaction, by, key, request string) (reply, error) {
	var first string
	var status int
	var body string
	err := tx.queryRow(ctx, `
		select request, status, answer::text from aedpics.idempotency_keys where caller = $1 and key = $2`, by, key).Scan(&first, &status, &body)
	if err != nil {
		return reply{}, err
	}
	if first != request {
		return reply{}, refuse(http.StatusUnprocessableEntity, "this Idempotency-Key belongs to another request")
	}
	return reply{status, json.RawMessage(body)}, nil
}
