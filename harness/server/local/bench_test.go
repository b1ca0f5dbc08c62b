//go:build unix

package local_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/local"
)

// median reports the median of times in milliseconds, under name.
func median(b *testing.B, name string, times []time.Duration) {
	b.Helper()
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, name)
	b.ReportMetric(0, "ns/op") // the mean says little here
}

func BenchmarkWarm(b *testing.B) {
	eachInstallation(b, func(b *testing.B, config server.Config) {
		require.NoError(b, start(b, config).Stop(b.Context()))
		var ready, stop []time.Duration
		for b.Loop() {
			s := start(b, config)
			ready = append(ready, s.Ready)
			stopping := time.Now()
			require.NoError(b, s.Stop(b.Context()))
			stop = append(stop, time.Since(stopping))
		}
		median(b, "ready-ms", ready)
		median(b, "stop-ms", stop)
	})
}

func BenchmarkCold(b *testing.B) {
	eachInstallation(b, func(b *testing.B, config server.Config) {
		var ready []time.Duration
		for b.Loop() {
			config.CacheDir = b.TempDir()
			s := start(b, config)
			ready = append(ready, s.Ready)
			require.NoError(b, s.Stop(b.Context()))
		}
		median(b, "ready-ms", ready)
	})
}

// eachInstallation runs a benchmark on each version there is, with an empty cache.
func eachInstallation(b *testing.B, run func(*testing.B, server.Config)) {
	found, _ := local.Find(b.Context(), sharedCache())
	for _, in := range found {
		if in.Major >= server.MinVersion {
			b.Run(in.Version, func(b *testing.B) { run(b, server.Config{BinDir: in.BinDir, CacheDir: b.TempDir()}) })
		}
	}
}

func BenchmarkDatabase(b *testing.B) {
	template := benchmarkTemplate(b)
	var create, drop []time.Duration
	for b.Loop() {
		begin := time.Now()
		d, err := template.Database(b.Context())
		require.NoError(b, err)
		create = append(create, time.Since(begin))
		begin = time.Now()
		require.NoError(b, d.Drop(b.Context()))
		drop = append(drop, time.Since(begin))
	}
	median(b, "create-ms", create)
	median(b, "drop-ms", drop)
}

func BenchmarkReset(b *testing.B) {
	d, err := benchmarkTemplate(b).Database(b.Context())
	require.NoError(b, err)
	conn, err := d.Connect(b.Context(), "bench")
	require.NoError(b, err)
	defer conn.Close(context.WithoutCancel(b.Context()))
	var reset []time.Duration
	for b.Loop() {
		_, err := conn.Exec(b.Context(), `insert into child (parent_id) select id from parent; insert into parent default values`, pgx.QueryExecModeSimpleProtocol)
		require.NoError(b, err)
		begin := time.Now()
		require.NoError(b, d.Reset(b.Context(), conn))
		reset = append(reset, time.Since(begin))
	}
	median(b, "reset-ms", reset)
}

// benchmarkTemplate has ten tables, two of them in use.
func benchmarkTemplate(b *testing.B) *server.Template {
	b.Helper()
	s := startFor(b, server.Config{CacheDir: b.TempDir()})
	schema := `create table parent (id bigserial primary key); create table child (id bigserial primary key, parent_id bigint references parent);`
	for i := range 8 {
		schema += fmt.Sprintf(`create table other%d (id bigserial primary key, name text unique, parent_id bigint references parent);`, i)
	}
	template, err := s.Template(b.Context(), migrate(schema))
	require.NoError(b, err)
	return template
}

// migrate returns how to prepare a template by running sql.
func migrate(sql string) func(context.Context, *pgx.ConnConfig) error {
	return func(ctx context.Context, config *pgx.ConnConfig) error {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		return err
	}
}
