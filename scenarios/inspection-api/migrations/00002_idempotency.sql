-- What the service remembers of requests that came with an Idempotency-Key. A caller's keys are that caller's own: nobody gets another one's answer
-- by guessing a key. Rows are of use for as long as clients try again; a job may delete those of yesterday.

-- +goose Up
CREATE TABLE aedpics.idempotency_keys (
  caller     text        NOT NULL, -- X-Inspector; empty: nobody
  key        text        NOT NULL,
  request    text        NOT NULL, -- endpoint and body, so that a key which comes with another request is noticed
  status     integer,              -- of the answer; both are NULL only within the transaction that does the work
  answer     json,                 -- as it was sent: json keeps the order of its keys, jsonb does not
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (caller, key)
);

-- +goose Down
DROP TABLE aedpics.idempotency_keys;
