package isolation_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/isolation"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// A spec of PostgreSQL's suite gives the transcript that PostgreSQL has for it, or one of its alternates, to the byte.
func TestSample(t *testing.T) {
	const dir = "testdata/postgresql"
	tester := open(t, isolation.Config{})
	for _, file := range files(t, dir+"/specs/*.spec") {
		spec := named(t, file)
		t.Run(spec.Name, func(t *testing.T) {
			var transcript bytes.Buffer
			require.NoError(t, tester.Run(t.Context(), spec, &transcript))
			var right []string
			for _, alternate := range files(t, filepath.Join(dir, "expected", spec.Name)+"*.out") {
				right = append(right, read(t, alternate))
			}
			if len(right) == 1 { // for a difference to be shown
				require.Equal(t, right[0], transcript.String())
			}
			require.Contains(t, right, transcript.String())
		})
	}
}

// What the sample lacks: these transcripts are what isolationtester of 15.18 wrote for these specs, with PGISOLATIONTIMEOUT=1.
func TestOwn(t *testing.T) {
	tester := open(t, isolation.Config{StepLimit: time.Second})
	defer isolation.SetPatience(time.Minute)() // on a slow machine, ten milliseconds are nothing
	for _, file := range files(t, "testdata/own/*.spec") {
		spec := named(t, file)
		t.Run(spec.Name, func(t *testing.T) {
			var transcript bytes.Buffer
			err := tester.Run(t.Context(), spec, &transcript)
			require.Equal(t, read(t, strings.TrimSuffix(file, ".spec")+".out"), transcript.String())
			switch spec.Name {
			case "broken", "gone", "mutual", "stuck":
				require.ErrorIs(t, err, isolation.ErrEnded)
			default:
				require.NoError(t, err)
			}
		})
	}
}

func open(t testing.TB, config isolation.Config) *isolation.Tester {
	t.Helper()
	if config.Servers == nil {
		config.Servers = []*server.Server{servertest.Server(t)}
	}
	tester, err := isolation.Open(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tester.Close(context.Background())) })
	return tester
}

func named(t testing.TB, file string) isolation.Named {
	t.Helper()
	spec, err := isolation.Parse(file, []byte(read(t, file)))
	require.NoError(t, err)
	return isolation.Named{Name: strings.TrimSuffix(filepath.Base(file), ".spec"), Spec: spec}
}

func files(t testing.TB, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.NotEmpty(t, found, pattern)
	return found
}

func read(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}
