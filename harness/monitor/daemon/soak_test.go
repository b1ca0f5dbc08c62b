//go:build unix

package daemon_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// Under load, Postgres is restarted, crashes, ends sessions, is locked, and becomes read only, again and again, for as many looks as there are in an hour
// by default. Whoever asks is answered all the time, /readyz tells, everything recovers by itself, and nothing piles up.
func TestSoak(t *testing.T) {
	servertest.Slow(t)
	const looks = 360 // an hour, every 10 s
	c := servertest.NewCluster(t)
	config, err := pgx.ParseConfig(c.DSN())
	require.NoError(t, err)
	require.NoError(t, migrate(t.Context(), config))
	d := start(t, config, "public: {health: true}")

	var asked, refused atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	defer load.Wait()
	defer stop()
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				q, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+"api/monitoring/duplicate-sessions?limit=10", nil)
				if err != nil {
					return
				}
				q.Header.Set("Authorization", "Bearer a-token-that-may-read")
				answer, err := http.DefaultClient.Do(q)
				if err != nil {
					if ctx.Err() == nil {
						refused.Add(1)
					}
					continue
				}
				if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
					refused.Add(1)
				}
				answer.Body.Close()
				asked.Add(1)
			}
		})
	}

	ready := func(want int) {
		t.Helper()
		observe(t, http.StatusText(want), func() bool {
			status, _ := d.ask(http.MethodGet, "/readyz", "", "")
			return status == want
		})
	}
	health := func() (h struct {
		Ready    bool `json:"ready"`
		ReadOnly bool `json:"read_only"`
	},
	) {
		_, body := d.ask(http.MethodGet, "/readyz", "", "")
		_ = json.Unmarshal([]byte(body), &h)
		return h
	}
	admin := func(statements ...string) {
		t.Helper()
		conn, err := pgx.ConnectConfig(t.Context(), config)
		require.NoError(t, err)
		defer conn.Close(t.Context())
		for _, sql := range statements {
			_, err = conn.Exec(t.Context(), sql)
			require.NoError(t, err, sql)
		}
	}
	outages := []func(){
		func() { c.Stop(t, "fast"); ready(http.StatusServiceUnavailable); c.Start(t) },
		func() { c.Stop(t, "immediate"); ready(http.StatusServiceUnavailable); c.Start(t) },
		func() {
			admin(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'interlock serve'`)
		},
		func() {
			admin(`alter system set default_transaction_read_only = on`, `select pg_reload_conf()`)
			observe(t, "read only is told", func() bool { return health().ReadOnly })
			admin(`set default_transaction_read_only = off`, `alter system reset default_transaction_read_only`, `select pg_reload_conf()`)
			observe(t, "and that it is over", func() bool { return !health().ReadOnly })
		},
		func() {
			conn, err := pgx.ConnectConfig(t.Context(), config)
			require.NoError(t, err)
			defer conn.Close(t.Context())
			_, err = conn.Exec(t.Context(), `begin; lock table aedpics.inspection_sessions`, pgx.QueryExecModeSimpleProtocol)
			require.NoError(t, err)
			observe(t, "a lock is in the way", func() bool {
				status, body := d.ask(http.MethodGet, "/api/invariants/S1", "a-token-that-may-read", "")
				return status == http.StatusOK && json.Valid([]byte(body)) && !health().Ready
			})
		},
	}
	ready(http.StatusOK)
	goroutines := 0
	for n := range looks / 10 {
		if n%6 < len(outages) && n < 3*6 {
			outages[n%6]()
		}
		ready(http.StatusOK)
		require.Equal(t, devices, d.total("duplicate-sessions"))
		if n == 6 {
			goroutines = runtime.NumGoroutine()
		}
	}
	stop()
	load.Wait()
	http.DefaultClient.CloseIdleConnections()
	require.Zero(t, refused.Load(), "of %d requests", asked.Load())
	require.Positive(t, asked.Load())
	observe(t, "nothing piles up", func() bool { return runtime.NumGoroutine() <= goroutines })
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var connections int
	require.NoError(t, conn.QueryRow(t.Context(), `select count(*) from pg_stat_activity where application_name = 'interlock serve'`).Scan(&connections))
	require.LessOrEqual(t, connections, 3, "one for each watch, and one for indexes")
	t.Logf("%d requests were answered", asked.Load())
}
