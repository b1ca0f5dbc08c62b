package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// api answers requests.
type api struct {
	form  form
	mark  bool
	pool  *pgxpool.Pool
	log   *slog.Logger
	ready atomic.Bool // the pool has answered
}

func newAPI(c config, pool *pgxpool.Pool, log *slog.Logger) *api {
	return &api{form: c.form, mark: c.mark, pool: pool, log: log}
}

// reply is what a request is answered with.
type reply struct {
	status int
	body   any
}

func (a *api) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", a.answer(a.health))
	mux.HandleFunc("POST /api/inspections/sessions", a.answer(a.postSession))
	mux.HandleFunc("POST /api/schedules", a.answer(a.postSchedule))
	mux.HandleFunc("/", a.answer(func(*http.Request) (reply, error) { return reply{}, refuse(http.StatusNotFound, "no such endpoint") }))
	return mux
}

// answer makes a handler of a function, and is the only place that writes answers.
func (a *api) answer(handle func(*http.Request) (reply, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		answer, err := handle(r)
		if err != nil {
			answer = a.explain(r, err)
		}
		text, err := json.Marshal(answer.body)
		if err != nil {
			answer = a.explain(r, err)
			text, _ = json.Marshal(answer.body) // a string
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(answer.status)
		if _, err := w.Write(text); err != nil {
			a.log.Warn("the answer did not arrive", "path", r.URL.Path, "error", err)
		}
	}
}

// health asks the database until it has answered once, so that whoever asks all the time does not keep a connection busy.
func (a *api) health(r *http.Request) (reply, error) {
	if !a.ready.Load() {
		if _, err := a.pool.Exec(r.Context(), "select 1"); err != nil {
			a.log.Warn("the database does not answer", "error", err)
			return reply{}, refuse(http.StatusServiceUnavailable, "the database does not answer")
		}
		a.ready.Store(true)
	}
	return reply{http.StatusOK, map[string]string{"status": "ok"}}, nil
}

func (a *api) postSession(r *http.Request) (reply, error) {
	var in newSession
	if err := decode(r, &in); err != nil {
		return reply{}, err
	}
	if err := checkSerial(in.EquipmentSerial); err != nil {
		return reply{}, err
	}
	by, err := inspector(r)
	if err != nil {
		return reply{}, err
	}
	if by == "" {
		return reply{}, refuse(http.StatusBadRequest, "X-Inspector is missing")
	}
	return a.perform(r, by, in, func(ctx context.Context, tx transaction) (reply, error) { return a.createSession(ctx, tx, by, in) })
}

func (a *api) postSchedule(r *http.Request) (reply, error) {
	var in newSchedule
	if err := decode(r, &in); err != nil {
		return reply{}, err
	}
	if err := checkSerial(in.EquipmentSerial); err != nil {
		return reply{}, err
	}
	at, err := time.Parse(time.RFC3339, in.ScheduledFor)
	if err != nil {
		return reply{}, refuse(http.StatusBadRequest, "scheduledFor is not a time as 2026-01-05T10:00:00Z")
	}
	by, err := inspector(r)
	if err != nil {
		return reply{}, err
	}
	at = at.Truncate(time.Millisecond).UTC()
	in.ScheduledFor = at.Format("2006-01-02T15:04:05.000Z07:00")
	return a.perform(r, by, in, func(ctx context.Context, tx transaction) (reply, error) { return a.createSchedule(ctx, tx, by, in, at) })
}

// decode reads the body, which is one JSON object and nothing else.
func decode(r *http.Request, in any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(body, in) != nil || !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) { // null would do
		return refuse(http.StatusBadRequest, "the body is not JSON of this request")
	}
	return nil
}

func checkSerial(serial string) error {
	if serial == "" || len([]rune(serial)) > 255 || strings.ContainsRune(serial, 0) {
		return refuse(http.StatusBadRequest, "equipmentSerial is not of 1 to 255 characters")
	}
	return nil
}

var uuid = regexp.MustCompile(`^(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// inspector returns who asks, as whoever stands in front of the service has found out; empty: nobody.
func inspector(r *http.Request) (string, error) {
	by := r.Header.Get("X-Inspector")
	if by != "" && !uuid.MatchString(by) {
		return "", refuse(http.StatusBadRequest, "X-Inspector is not a UUID")
	}
	return strings.ToLower(by), nil
}
