package isolation_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/isolation"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// The benchmarks run specs with PostgreSQL's isolationtester and with ours, on the same server, and report how many times faster ours is: the median
// of rounds in which they take turns, for what else the machine does to fall on both. It takes apt-get install postgresql-client-15, and
//
//	go test -run '^$' -bench . -benchtime 5x ./harness/isolation

// BenchmarkOrders runs 6,000 of the 34,650 orders of a spec in which nobody waits.
func BenchmarkOrders(b *testing.B) {
	compare(b, 1, shuffled(named(b, "testdata/bench/orders.spec"), 6000))
}

// shuffled gives a spec so many of the orders of its steps, always the same.
func shuffled(spec isolation.Named, n int) isolation.Named {
	r := rand.New(rand.NewPCG(1, 1))
	var turns []int
	for i, session := range spec.Sessions {
		turns = append(turns, slices.Repeat([]int{i}, len(session.Steps))...)
	}
	for range n {
		r.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
		taken := make([]int, len(spec.Sessions))
		var p isolation.Permutation
		for _, session := range turns {
			p.Steps = append(p.Steps, isolation.PermutationStep{Step: spec.Sessions[session].Steps[taken[session]].Name})
			taken[session]++
		}
		spec.Permutations = append(spec.Permutations, p)
	}
	return spec
}

// BenchmarkWaits runs all 36 orders of a spec in which most wait.
func BenchmarkWaits(b *testing.B) {
	compare(b, 1, named(b, "testdata/bench/waits.spec"))
}

// BenchmarkSample runs the sample of PostgreSQL's own specs: ours on one server, and on as many as 'interlock spec' starts.
func BenchmarkSample(b *testing.B) {
	var specs []isolation.Named
	for _, file := range files(b, "testdata/postgresql/specs/*.spec") {
		specs = append(specs, named(b, file))
	}
	for _, n := range []int{1, isolation.DefaultWorkers()} {
		b.Run(fmt.Sprintf("servers=%d", n), func(b *testing.B) { compare(b, n, specs...) })
	}
}

func compare(b *testing.B, n int, specs ...isolation.Named) {
	program := servertest.Isolationtester(b)
	srv := servertest.Server(b)
	tester := open(b, isolation.Config{Servers: servers(b, n)})
	var theirs, ours, ratios []float64
	permutations := 0
	for b.Loop() {
		db := servertest.Database(b, "")
		start := time.Now()
		for _, spec := range specs {
			transcript, err := os.Create(filepath.Join(b.TempDir(), spec.Name))
			require.NoError(b, err)
			run := exec.CommandContext(b.Context(), program, "dbname="+db.Name)
			run.Env, run.Stdin, run.Stdout, run.Stderr = environment(srv, spec.Name), strings.NewReader(spec.String()), transcript, transcript
			require.NoError(b, errors.Join(run.Run(), transcript.Close()))
		}
		theirs = append(theirs, time.Since(start).Seconds())

		permutations = 0
		start = time.Now()
		require.NoError(b, tester.Each(b.Context(), specs, func(_ isolation.Named, transcript []byte, err error) error {
			permutations += bytes.Count(transcript, []byte("\nstarting permutation:"))
			return err
		}))
		ours = append(ours, time.Since(start).Seconds())
		ratios = append(ratios, theirs[len(theirs)-1]/ours[len(ours)-1])
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(permutations)/median(theirs), "isolationtester/s")
	b.ReportMetric(float64(permutations)/median(ours), "ours/s")
	b.ReportMetric(median(ratios), "times-faster")
}

// environment is that of pg_isolation_regress, and PostgreSQL's defaults where our servers have others.
func environment(srv *server.Server, name string) []string {
	config := srv.Config("", "")
	return append(os.Environ(),
		"PGHOST="+config.Host, fmt.Sprintf("PGPORT=%d", config.Port), "PGUSER="+config.User, "PGAPPNAME=isolation/"+name,
		"PGTZ=PST8PDT", "PGDATESTYLE=Postgres, MDY",
		"PGOPTIONS=-c intervalstyle=postgres_verbose -c deadlock_timeout=1s -c log_lock_waits=off")
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
