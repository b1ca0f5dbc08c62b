package explore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/sched"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/embedded"
	"github.com/interlock-pg/interlock/harness/server/local"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/target"
	"github.com/interlock-pg/interlock/harness/wire"
	"github.com/interlock-pg/interlock/migrations"
)

// Whatever is killed before whichever step, an interleaving ends, the reason is told, and nothing is left behind: no process, no session.
func TestKilledBeforeAnyStep(t *testing.T) {
	servertest.Slow(t)
	if runtime.GOOS != "linux" {
		t.Skip("finds processes in /proc")
	}
	for _, victim := range []struct {
		name string
		kill func(t *testing.T, r *run)
		says string // in the reason; empty: it is a client that is told, and the search goes on
	}{
		{"application", func(t *testing.T, _ *run) {
			for _, pid := range applications(t) {
				require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			}
		}, "killed"},
		{"connections", func(_ *testing.T, r *run) {
			for _, s := range r.strands {
				if s.phase() == held {
					_ = s.session.Abort()
				}
			}
		}, ""},
		{"backend", func(t *testing.T, r *run) {
			for _, s := range r.strands {
				if s.phase() == held {
					_, err := r.arena.Control.Exec(t.Context(), `select pg_terminate_backend($1)`, int32(s.session.State().PID))
					require.NoError(t, err)
				}
			}
		}, ""},
		{"Postgres", func(t *testing.T, r *run) {
			_, _ = r.arena.Control.Exec(t.Context(), `copy (select 1) to program 'kill -QUIT $(head -1 postmaster.pid)'`) // it may still answer
			for r.arena.Control.Ping(t.Context()) == nil {
			}
		}, "conn"},
	} {
		t.Run(victim.name, func(t *testing.T) {
			build := referenceScenario(t)
			e := New(reference(t, mortal(t)))
			search := func(between func(n int, r *run)) (Result, int) {
				n := 0
				found, err := e.Explore(t.Context(), build, Config{Strategy: sched.Replay, Schedule: []int{0, 1, 0, 1, 0, 0, 1}, Workers: 1, between: func(r *run) {
					if !r.rehearses {
						n++
						between(n, r)
					}
				}})
				require.NoError(t, err)
				return found, n
			}
			_, steps := search(func(int, *run) {})
			require.Greater(t, steps, 4)
			for step := range steps {
				t.Run(fmt.Sprint(step+1), func(t *testing.T) {
					only := true // rollbacks are held, which happen all the same
					found, _ := search(func(n int, r *run) {
						if n == step+1 {
							for _, s := range r.strands {
								only = only && (s.phase() != held || s.session.State().Step.Kind == wire.Rollback)
							}
							victim.kill(t, r)
						}
					})
					if victim.says != "" {
						require.ErrorContains(t, found.Err, victim.says)
						require.False(t, found.Complete)
					} else {
						require.NoError(t, found.Err)
						require.Equal(t, 1, found.Executed)
						require.Len(t, found.Outcomes, 1)
						require.Equal(t, !only, strings.Contains(slices.Collect(maps.Keys(found.Outcomes))[0], "failed"), "%v", found.Outcomes)
					}
					if victim.name != "Postgres" {
						again, _ := search(func(int, *run) {})
						require.NoError(t, again.Err, "it goes on as if nothing had been")
						require.Empty(t, again.Broken)
						return
					}
					require.NoError(t, e.Close(context.Background()))
					require.Empty(t, applications(t))
					e = New(reference(t, mortal(t)))
				})
			}
			require.NoError(t, e.Close(context.Background()))
			require.Empty(t, applications(t))
		})
	}
}

// mortal starts a server that may end before it is stopped.
func mortal(t *testing.T) *server.Server {
	srv, err := local.Provider{}.Start(t.Context(), servertest.Config())
	if unavailable := new(server.UnavailableError); errors.As(err, &unavailable) {
		srv, err = embedded.Provider{}.Start(t.Context(), servertest.Config())
	}
	require.NoError(t, err)
	t.Cleanup(func() { _ = srv.Stop(context.Background()) })
	return srv
}

func reference(t *testing.T, srv *server.Server) *server.Template {
	template, err := srv.Template(t.Context(), func(ctx context.Context, config *pgx.ConnConfig) error {
		set, err := migrations.Open("../../migrations/sql", migrations.Goose)
		if err != nil {
			return err
		}
		_, err = set.Apply(ctx, config, 2)
		return err
	})
	require.NoError(t, err)
	return template
}

// referenceScenario is that of the reference application in Go, found by its name in /proc.
func referenceScenario(t *testing.T) func() race.Scenario {
	file, err := target.Load("../../scenarios/inspection-api/go-fixed-sessions.yaml")
	require.NoError(t, err)
	known := map[string]race.Invariant{}
	for _, name := range []string{"S1", "S4"} {
		known[name] = race.Invariant{Name: name, Says: name, SQL: `select equipment_serial from aedpics.inspection_sessions where status in ('active', 'paused') group by 1 having count(*) > 1`}
	}
	w, err := file.Workload(known)
	require.NoError(t, err)
	input, _ := w.Contend(2, 1)
	return func() race.Scenario { return w.Scenario(input) }
}

// applications returns the processes of the reference application that are ours.
func applications(t *testing.T) (pids []int) {
	program, err := filepath.Abs("../../scenarios/inspection-api/bin/inspection-api")
	require.NoError(t, err)
	found, err := filepath.Glob("/proc/[0-9]*/exe")
	require.NoError(t, err)
	for _, exe := range found {
		if path, _ := os.Readlink(exe); path != program {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(exe, "/")[2])
		require.NoError(t, err)
		status, _ := os.ReadFile(filepath.Join(filepath.Dir(exe), "status"))
		if !slices.ContainsFunc(bytes.Split(status, []byte("\n")), func(line []byte) bool { return bytes.HasPrefix(line, []byte("State:\tZ")) }) {
			pids = append(pids, pid)
		}
	}
	return pids
}
