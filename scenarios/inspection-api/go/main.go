// Command go is the inspection service in Go: two endpoints, each of which looks before it inserts. The environment says which form of it runs;
// see the README one folder up.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// grace is how long requests may take to finish once the service has been told to end.
const grace = 2 * time.Second

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, log, os.Getenv); err != nil {
		log.Error("inspection-api ended", "error", err)
		os.Exit(1)
	}
}

// run serves until the context ends.
func run(ctx context.Context, log *slog.Logger, getenv func(string) string) error {
	c, err := readConfig(getenv)
	if err != nil {
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, c.pool)
	if err != nil {
		return fmt.Errorf("opening the pool: %w", err)
	}
	defer pool.Close()

	requests, abandon := context.WithCancel(context.Background())
	defer abandon() // before the pool closes, which waits for every connection to come back
	srv := &http.Server{
		Handler:           newAPI(c, pool, log).handler(),
		BaseContext:       func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: 5 * time.Second,
	}
	closeUnused(srv)
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", c.port))
	if err != nil {
		return fmt.Errorf("listening: %w; try another PORT", err)
	}
	log.Info("inspection-api serves", "address", listener.Addr().String(), "form", c.form)

	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	finish, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	err = srv.Shutdown(finish)
	if errors.Is(err, context.DeadlineExceeded) { // what still runs is given up: its transaction is rolled back
		log.Warn("requests were cut off", "after", grace)
		abandon()
		err = srv.Close()
	}
	return err
}

// closeUnused has Shutdown close connections on which nothing has been asked yet, as clients open them in advance. It would wait for them.
func closeUnused(srv *http.Server) {
	var unused sync.Map
	srv.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateNew {
			unused.Store(conn, nil)
		} else {
			unused.Delete(conn)
		}
	}
	srv.RegisterOnShutdown(func() {
		unused.Range(func(conn, _ any) bool {
			conn.(net.Conn).Close() // nobody uses it
			return true
		})
	})
}
