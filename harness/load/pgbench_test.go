package load_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/load"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// BenchmarkPgbench compares throughput with that of pgbench -M prepared, in turns of a second: the same SQL, rows, clients and connection. "of-pgbench" is
// the median of the quotients.
func BenchmarkPgbench(b *testing.B) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pgbench")
	if len(found) == 0 {
		b.Skip("there is no pgbench")
	}
	const rounds = 5
	template := servertest.Template(b, `create table t (id bigint generated always as identity primary key, v bigint);
		insert into t (v) select i from generate_series(1, 1000) i; create table made (id bigint generated always as identity primary key, v bigint not null)`)
	for _, script := range []struct{ name, sql string }{
		{"select", `select v from t where id = $1`},
		{"insert", `insert into made (v) values ($1)`},
	} {
		file := filepath.Join(b.TempDir(), "script.sql")
		text := "\\set id random(1, 1000)\n" + regexp.MustCompile(`\$1`).ReplaceAllString(script.sql, ":id") + ";\n"
		require.NoError(b, os.WriteFile(file, []byte(text), 0o600))
		for _, clients := range []int{1, 8, 32} {
			b.Run(fmt.Sprintf("%s/clients=%d", script.name, clients), func(b *testing.B) {
				var ratios, share []float64
				for b.Loop() {
					for range rounds {
						db, err := template.Database(b.Context())
						require.NoError(b, err)
						config := db.Config("pgbench")
						out, err := exec.Command(found[len(found)-1], "-n", "-M", "prepared", "-f", file, "-c", fmt.Sprint(clients), "-j", fmt.Sprint(min(clients, 2)), "-T", "1",
							"-h", config.Host, "-p", fmt.Sprint(config.Port), "-U", config.User, db.Name).CombinedOutput()
						require.NoError(b, err, string(out))
						require.NoError(b, db.Drop(context.Background()))
						theirs, err := strconv.ParseFloat(string(regexp.MustCompile(`tps = ([\d.]+)`).FindSubmatch(out)[1]), 64)
						require.NoError(b, err)
						m, err := load.Run(b.Context(), load.Config{
							Server: servertest.Server(b), Subjects: []load.Subject{{Workload: statement(script.name, script.sql), Template: template}}, Clients: []int{clients},
							For: time.Second, Slice: time.Second / load.LeastTurns,
						})
						require.NoError(b, err)
						ratios, share = append(ratios, m.Arms[0].Throughput/theirs), append(share, m.Harness.Share)
					}
				}
				slices.Sort(ratios)
				slices.Sort(share)
				b.ReportMetric(ratios[len(ratios)/2], "of-pgbench")
				b.ReportMetric(share[len(share)/2], "of-the-processors")
			})
		}
	}
}

// statement is a workload of one statement with a number from 1 to 1000.
func statement(name, sql string) race.Workload {
	return race.Workload{Name: name, Stream: func(race.Shape) race.Stream {
		return race.Stream{Client: func(n int) func() race.Operation {
			i := int64(n)
			do := func(ctx context.Context, conn *pgx.Conn) race.Answer {
				if name == "select" {
					var v int64
					return race.Answer{Err: conn.QueryRow(ctx, sql, i).Scan(&v)}
				}
				_, err := conn.Exec(ctx, sql, i)
				return race.Answer{Err: err}
			}
			return func() race.Operation {
				i = i*7919%1000 + 1
				return race.Operation{Kind: name, Do: do}
			}
		}}
	}}
}
