package history_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
)

func text(s string) *string { return &s }

func sample() history.Run {
	return history.Run{
		Format: history.Format, Kind: history.KindRun, Seed: 7341, Started: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC),
		Elapsed: history.Duration(1250 * time.Microsecond), Verdict: history.Violated,
		Server: history.Server{Provider: "local", Release: "15.18", Settings: map[string]string{"fsync": "off"}},
		Cells: []history.Cell{{
			Scenario: "sessions", Variant: "none", At: 1, Verdict: history.Violated,
			Invariants: []history.Judgement{{Invariant: "S1", Verdict: history.Violated, Expected: history.MustBreak, Broken: 1}},
			Rounds: []history.Round{{
				Number: 1, Input: []byte(`{"devices":1}`),
				Violations: []history.Violation{{
					Invariant: "S1", Moment: history.AtRest,
					Rows: history.Table{Columns: []string{"serial", "at"}, Rows: [][]*string{{text("AED <1>"), nil}}},
				}},
			}},
		}},
	}
}

func TestRunSurvivesARoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "run.json")
	require.NoError(t, history.Save(path, sample()))
	back, err := history.Load(path)
	require.NoError(t, err)

	var want, got bytes.Buffer
	require.NoError(t, history.Encode(&want, sample()))
	require.NoError(t, history.Encode(&got, back))
	require.Equal(t, want.String(), got.String())
	require.Contains(t, want.String(), `"1.25ms"`)
}

func TestDecodeRefuses(t *testing.T) {
	for name, c := range map[string]struct{ in, says string }{
		"a newer version": {`{"format": 99, "cells": "something else"}`, "upgrading"},
		"other JSON":      {`{"name": "x"}`, "not a run file"},
		"no JSON":         {`<html>`, "not a run file"},
		"nothing":         {``, "not a run file"},
		"damage":          {`{"format": 1, "cells": 3}`, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := history.Decode(strings.NewReader(c.in))
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "try")
		})
	}
	_, err := history.Decode(strings.NewReader(`{"format": 99}`))
	require.ErrorIs(t, err, history.ErrNewer)
}

func TestAFailedWriteLeavesWhatWasThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "run.json")
	require.NoError(t, os.WriteFile(path, []byte("before"), 0o600))
	full := errors.New("no space left on device")
	err := history.WriteFile(path, func(w io.Writer) error {
		_, _ = w.Write([]byte("half"))
		return full
	})
	require.ErrorIs(t, err, full)
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "before", string(kept))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func TestWorst(t *testing.T) {
	require.Equal(t, history.Violated, history.Worst(history.Unknown, history.Violated))
	require.Equal(t, history.Unknown, history.Worst(history.Held, history.Unknown))
	require.Equal(t, history.Held, history.Worst(history.Held, history.Held))
}

func FuzzDecode(f *testing.F) {
	var b bytes.Buffer
	require.NoError(f, history.Encode(&b, sample()))
	f.Add(b.Bytes())
	f.Add([]byte(`{"format":1,"elapsed":"5x"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		run, err := history.Decode(bytes.NewReader(raw))
		if err != nil {
			return
		}
		var again bytes.Buffer
		require.NoError(t, history.Encode(&again, run))
		_, err = history.Decode(&again)
		require.NoError(t, err)
	})
}
