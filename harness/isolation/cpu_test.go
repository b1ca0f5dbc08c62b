package isolation_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/isolation"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

var pid string

func pgcpu() float64 { // reaped children of the postmaster
	l, _ := os.ReadFile("/proc/" + pid + "/stat")
	f := strings.Fields(string(l))
	var cu, cs float64
	fmt.Sscan(f[15], &cu)
	fmt.Sscan(f[16], &cs)
	return (cu + cs) / 100
}

func self(who int) float64 {
	var ru syscall.Rusage
	syscall.Getrusage(who, &ru)
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9
}

func TestCPU(t *testing.T) {
	program := isolationtester(&testing.B{})
	srv := servertest.Server(t)
	conn, err := pgx.ConnectConfig(t.Context(), srv.Config("", "x"))
	require.NoError(t, err)
	var dir string
	conn.QueryRow(t.Context(), "show data_directory").Scan(&dir)
	pm, _ := os.ReadFile(dir + "/postmaster.pid")
	pid = strings.Fields(string(pm))[0]
	workers := 0
	fmt.Sscan(os.Getenv("W"), &workers)
	tester, err := isolation.Open(t.Context(), isolation.Config{Servers: []*server.Server{srv}, Workers: workers})
	require.NoError(t, err)
	spec := named(t, os.Getenv("SPEC")).Spec
	n := 0
	one := func(name string, f func(*bytes.Buffer)) {
		var out bytes.Buffer
		p0, s0, c0, t0 := pgcpu(), self(0), self(-1), time.Now()
		f(&out)
		el := time.Since(t0)
		time.Sleep(100 * time.Millisecond)
		n = bytes.Count(out.Bytes(), []byte("\nstarting permutation:"))
		k := 1e3 / float64(n)
		fmt.Printf("%-6s %d permutations: %.2f ms each; CPU ms each: server %.2f, self %.2f, child %.2f\n", name, n, el.Seconds()*k, (pgcpu()-p0)*k, (self(0)-s0)*k, (self(-1)-c0)*k)
	}
	for i := range 4 {
		_ = i
		db := servertest.Database(t, "")
		if os.Getenv("THEIRS") != "" {
			one("theirs", func(out *bytes.Buffer) {
				run := exec.Command(program, "dbname="+db.Name)
				f, _ := os.Create("/dev/shm/isoout")
				run.Env, run.Stdin, run.Stdout, run.Stderr = environment(srv, "x"), strings.NewReader(spec.String()), f, f
				run.Run()
				b, _ := os.ReadFile("/dev/shm/isoout")
				out.Write(b)
			})
		}
		one("ours", func(out *bytes.Buffer) { tester.Run(t.Context(), isolation.Named{Name: "x", Spec: spec}, out) })
	}
}
