package load_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/load"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// TestPgbench is no test: it compares the throughput of this driver with that of pgbench, on the same SQL, rows, clients and connection, in turns.
func TestPgbench(t *testing.T) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pgbench")
	if len(found) == 0 || os.Getenv("INTERLOCK_TEST_PGBENCH") == "" {
		t.Skip("make bench-pgbench")
	}
	pgbench := found[len(found)-1]
	d := 3 * time.Second
	for name, sql := range map[string]string{
		"select": `select v from t where id = $1`,
		"insert": `insert into t (v) values ($1)`,
	} {
		script := filepath.Join(t.TempDir(), "script.sql")
		text := "\\set id random(1, 1000)\n" + regexp.MustCompile(`\$1`).ReplaceAllString(sql, ":id") + ";\n"
		require.NoError(t, os.WriteFile(script, []byte(text), 0o600))
		w := race.Workload{Name: name, Stream: func(race.Shape) race.Stream {
			return race.Stream{Client: func(n int) func() race.Operation {
				i := int64(n)
				return func() race.Operation {
					i = i*1103515245%1000 + 1
					return race.Operation{Kind: name, Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
						if name == "select" {
							var v int64
							return race.Answer{Err: conn.QueryRow(ctx, sql, i%1000+1).Scan(&v)}
						}
						_, err := conn.Exec(ctx, sql, i)
						return race.Answer{Err: err}
					}}
				}
			}}
		}}
		template := servertest.Template(t, `create table t (id bigint generated always as identity primary key, v bigint); insert into t (v) select i from generate_series(1, 1000) i`)
		for _, clients := range []int{1, 8, 32} {
			db, err := template.Database(t.Context())
			require.NoError(t, err)
			config := db.Config("pgbench")
			out, err := exec.Command(pgbench, "-n", "-M", "prepared", "-f", script, "-c", fmt.Sprint(clients), "-j", "2", "-T", "3",
				"-h", config.Host, "-p", fmt.Sprint(config.Port), "-U", config.User, db.Name).CombinedOutput()
			require.NoError(t, err, string(out))
			theirs, _ := strconv.ParseFloat(string(regexp.MustCompile(`tps = ([\d.]+)`).FindSubmatch(out)[1]), 64)
			m, err := load.Run(t.Context(), load.Config{
				Server: servertest.Server(t), Subjects: []load.Subject{{Workload: w, Template: template}}, Clients: []int{clients}, For: d, Slice: 500 * time.Millisecond,
			})
			require.NoError(t, err)
			t.Logf("%s, %d clients: pgbench %.0f, interlock %.0f: %.2f, cpu %.2f", name, clients, theirs, m.Arms[0].Throughput, m.Arms[0].Throughput/theirs, m.Harness.Share)
		}
	}
}
