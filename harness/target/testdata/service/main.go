// Command service is a small application for the tests of package target: things in a table, with a race between a check and an insert.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

type service struct {
	pool     *pgxpool.Pool
	children []int
	requests atomic.Int64 // since the last reset
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if len(os.Args) > 1 {
		return job(ctx, os.Args[1:])
	}
	if os.Getenv("BREAK") != "" {
		return fmt.Errorf("cannot go on with %s", os.Getenv("DATABASE_URL"))
	}
	s := &service{}
	if script := os.Getenv("CHILD"); script != "" {
		child := exec.Command("/bin/sh", "-c", script)
		if err := child.Start(); err != nil {
			return err
		}
		s.children = append(s.children, child.Process.Pid)
	}
	address := "127.0.0.1:" + os.Getenv("PORT")
	if once := os.Getenv("TAKEN_ONCE"); once != "" {
		// As if somebody had taken the port in the meantime.
		if _, err := os.Stat(once); errors.Is(err, os.ErrNotExist) {
			if err := os.WriteFile(once, []byte(address), 0o600); err != nil {
				return err
			}
			address = os.Getenv("TAKEN")
		}
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	if s.pool, err = pgxpool.New(ctx, os.Getenv("DATABASE_URL")); err != nil {
		return err
	}
	server := &http.Server{Handler: s.routes()}
	if os.Getenv("STUBBORN") != "" {
		signal.Ignore(syscall.SIGTERM)
	} else {
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		go func() {
			<-term
			fmt.Println("told to end")
			server.Shutdown(context.Background())
		}()
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// job is a command that is a client.
func job(ctx context.Context, words []string) error {
	conn, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	switch words[0] {
	case "insert":
		_, err = conn.Exec(ctx, `insert into things (name) values ($1 || ' ' || current_setting('application_name'))`, words[1])
	case "wait":
		_, err = conn.Exec(ctx, `select pg_advisory_lock(1)`)
	default:
		err = fmt.Errorf("no job %q", words[0])
	}
	return err
}

func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if os.Getenv("NEVER_READY") != "" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /self", func(w http.ResponseWriter, r *http.Request) {
		say(w, http.StatusOK, map[string]any{"pids": append(s.children, os.Getpid()), "environment": os.Environ()})
	})
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, r *http.Request) { s.requests.Store(0) })
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, r *http.Request) {
		say(w, http.StatusOK, map[string]any{"requests": s.requests.Load()})
	})
	mux.HandleFunc("POST /things", s.create)
	mux.HandleFunc("PUT /things/{id}", s.rename)
	mux.HandleFunc("/echo/{status}", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.PathValue("status"))
		body, _ := io.ReadAll(r.Body)
		say(w, code, map[string]any{"headers": r.Header, "query": r.URL.RawQuery, "body": string(body)})
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/healthz", http.StatusFound) })
	mux.HandleFunc("/cut", s.cut)
	mux.HandleFunc("POST /leave", s.leave)
	mux.HandleFunc("/never", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	return mux
}

func (s *service) create(w http.ResponseWriter, r *http.Request) {
	var thing struct{ Name string }
	if err := json.NewDecoder(r.Body).Decode(&thing); err != nil {
		say(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
		return
	}
	var there bool
	var id int64
	comment := ""
	if trace := r.Header.Get("traceparent"); trace != "" {
		comment = ` /*traceparent='` + strings.ReplaceAll(trace, "'", "") + `'*/`
	}
	err := s.pool.QueryRow(r.Context(), `select exists (select from things where name = $1)`+comment, thing.Name).Scan(&there)
	if err == nil && there {
		say(w, http.StatusConflict, map[string]any{"error": "there is one"})
		return
	}
	if err == nil {
		err = s.pool.QueryRow(r.Context(), `insert into things (name) values ($1) returning id`+comment, thing.Name).Scan(&id)
	}
	if err != nil {
		say(w, http.StatusInternalServerError, map[string]any{"error": err.Error()})
		return
	}
	say(w, http.StatusCreated, map[string]any{"id": id, "name": thing.Name})
}

func (s *service) rename(w http.ResponseWriter, r *http.Request) {
	var thing struct{ Name string }
	json.NewDecoder(r.Body).Decode(&thing)
	tag, err := s.pool.Exec(r.Context(), `update things set name = $2 where id = $1`, r.PathValue("id"), thing.Name)
	switch {
	case err != nil:
		say(w, http.StatusInternalServerError, map[string]any{"error": err.Error()})
	case tag.RowsAffected() == 0:
		w.WriteHeader(http.StatusNotFound)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// cut ends the connection of the first so many requests without an answer, or in its middle.
func (s *service) cut(w http.ResponseWriter, r *http.Request) {
	times, _ := strconv.ParseInt(r.URL.Query().Get("times"), 10, 64)
	if s.requests.Add(1) > times {
		say(w, http.StatusCreated, map[string]any{"id": "whole"})
		return
	}
	conn, buffer, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if r.URL.Query().Get("middle") != "" {
		buffer.WriteString("HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{")
		buffer.Flush()
	}
	conn.Close()
}

// leave does what a request's body says, and forgets to end the transaction.
func (s *service) leave(w http.ResponseWriter, r *http.Request) {
	sql, _ := io.ReadAll(r.Body)
	ctx := context.WithoutCancel(r.Context())
	conn, err := s.pool.Acquire(ctx)
	if err == nil {
		_, err = conn.Exec(ctx, "begin; "+strings.Trim(string(sql), `"`))
	}
	if err != nil {
		say(w, http.StatusInternalServerError, map[string]any{"error": err.Error()})
		return
	}
	say(w, http.StatusCreated, nil)
}

func say(w http.ResponseWriter, code int, what any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(what)
}
