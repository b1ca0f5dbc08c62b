package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/proxy"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/wire"
)

// routes returns the URLs of a database: directly; through proxies that copy bytes, plain with io.Copy, which on Linux leaves the copying to the
// kernel, and buffered as we do; through ours with nothing split; with all split and nothing held.
func routes(b *testing.B) map[string]string {
	config := servertest.Database(b, "").Config("bench")
	out := map[string]string{}
	for name, copies := range map[string]func(net.Conn, net.Conn){
		"plain":    func(to, from net.Conn) { _, _ = io.Copy(to, from) },
		"buffered": func(to, from net.Conn) { _, _ = io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from}) },
	} {
		out[name] = fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", config.User, copier(b, config, copies), config.Database)
	}
	for name, gate := range map[string]wire.Config{"proxy": {}, "split": {Split: true, Hold: func(wire.Step) bool { return false }}} {
		p, err := proxy.Listen(b.Context(), "tcp", "127.0.0.1:0", proxy.Config{Server: &config.Config, Gate: wire.New(gate)})
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, p.Close()) })
		out[name] = p.URL()
	}
	direct := url.URL{Scheme: "postgres", User: url.User(config.User), Path: "/" + config.Database}
	direct.RawQuery = url.Values{"host": {config.Host}, "port": {strconv.Itoa(int(config.Port))}}.Encode()
	out["direct"] = direct.String()
	return out
}

// copier is a proxy that copies bytes and does nothing else.
func copier(b *testing.B, config *pgx.ConnConfig, copies func(to, from net.Conn)) net.Addr {
	network, address := pgconn.NetworkAddress(config.Host, config.Port)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	var work sync.WaitGroup
	b.Cleanup(func() {
		require.NoError(b, listener.Close())
		work.Wait()
	})
	work.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				server, err := net.Dial(network, address)
				if err != nil {
					b.Error(err)
					return
				}
				work.Go(func() {
					copies(server, client)
					server.Close()
				})
				copies(client, server)
				client.Close()
			})
		}
	})
	return listener.Addr()
}

// BenchmarkProxyThroughput compares the throughput of pgbench with 8 clients and SELECT 1, in turns: "of-plain" is the median of the quotients of
// a proxy to one that copies bytes by io.Copy.
func BenchmarkProxyThroughput(b *testing.B) {
	pgbench, err := exec.LookPath("pgbench")
	if err != nil {
		b.Skip("there is no pgbench; try: apt-get install postgresql-contrib")
	}
	file := filepath.Join(b.TempDir(), "script.sql")
	require.NoError(b, os.WriteFile(file, []byte("select 1;\n"), 0o600))
	rate := regexp.MustCompile(`tps = ([\d.]+)`)
	for _, mode := range []string{"simple", "prepared"} {
		b.Run(mode, func(b *testing.B) {
			urls := routes(b)
			seen := map[string][]float64{}
			var quotients, split []float64
			for b.Loop() {
				now := map[string]float64{}
				for _, name := range []string{"direct", "plain", "proxy", "buffered", "split", "proxy", "plain"} {
					out, err := exec.Command(pgbench, "-n", "-M", mode, "-f", file, "-c", "8", "-j", "2", "-T", "1", urls[name]).CombinedOutput()
					require.NoError(b, err, string(out))
					tps, err := strconv.ParseFloat(string(rate.FindSubmatch(out)[1]), 64)
					require.NoError(b, err)
					now[name] += tps
					seen[name] = append(seen[name], tps)
				}
				quotients, split = append(quotients, now["proxy"]/now["plain"]), append(split, 2*now["split"]/now["plain"])
			}
			b.ReportMetric(middle(quotients), "of-plain")
			b.ReportMetric(middle(split), "split-of-plain")
			for name, tps := range seen {
				b.ReportMetric(middle(tps), name+"-tps")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkProxyLatency times SELECT 1 of one client, in turns of 200 statements. Of the turns' medians, p50 is the median; above-plain is the median
// of the differences, and above-buffered too.
func BenchmarkProxyLatency(b *testing.B) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeSimpleProtocol} {
		b.Run(mode.String(), func(b *testing.B) {
			urls := routes(b)
			clients := map[string]*pgx.Conn{}
			for name, url := range urls {
				config, err := pgx.ParseConfig(url)
				require.NoError(b, err)
				config.DefaultQueryExecMode = mode
				clients[name], err = pgx.ConnectConfig(b.Context(), config)
				require.NoError(b, err)
				b.Cleanup(func() { clients[name].Close(context.Background()) })
			}
			turn := func(name string) float64 {
				took := make([]float64, 200)
				var n int
				for i := range took {
					begin := time.Now()
					if err := clients[name].QueryRow(context.Background(), "select 1").Scan(&n); err != nil {
						b.Fatal(err)
					}
					took[i] = float64(time.Since(begin).Nanoseconds()) / 1000
				}
				return middle(took)
			}
			seen := map[string][]float64{}
			var above, buffered []float64
			for b.Loop() {
				for name := range clients {
					seen[name] = append(seen[name], turn(name))
				}
				last := len(seen["plain"]) - 1
				above, buffered = append(above, seen["proxy"][last]-seen["plain"][last]), append(buffered, seen["proxy"][last]-seen["buffered"][last])
			}
			b.ReportMetric(middle(above), "above-plain-µs")
			b.ReportMetric(middle(buffered), "above-buffered-µs")
			for name, values := range seen {
				b.ReportMetric(middle(values), name+"-p50-µs")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
