package load_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/load"
)

func arm(variant string, at int64, clients int) history.Arm {
	ms := func(n int) history.Duration { return history.Duration(time.Duration(n) * time.Millisecond) }
	return history.Arm{
		Scenario: "sessions", Variant: variant, At: at, Clients: clients, Operations: 1000, Throughput: 512.4, Unserved: 7, Retries: 3,
		Latency:  history.Latency{Mean: ms(10), P50: ms(8), P90: ms(20), P99: ms(50), P999: ms(80), Max: ms(90)},
		Kinds:    []history.LoadKind{{Kind: "create", Outcome: "created", Count: 900}, {Kind: "end", Outcome: "failed", Count: 1}, {Kind: "create", Outcome: "failed", Count: 2}},
		Database: history.DatabaseLoad{Deadlocks: 4},
	}
}

func TestRequirement(t *testing.T) {
	for says, want := range map[string]struct {
		verdict history.Verdict
		was     string
	}{
		"p99 < 50ms":                   {history.Violated, "50 ms"},
		"p99 <= 50ms":                  {history.Held, "50 ms"},
		"p99<=0.05s":                   {history.Held, "50 ms"},
		" p99 > 49999us ":              {history.Held, "50 ms"},
		"p99.9 == 80ms":                {history.Held, "80 ms"},
		"mean != 10ms":                 {history.Violated, "10 ms"},
		"p50 >= 8ms":                   {history.Held, "8 ms"},
		"p90 > 20ms":                   {history.Violated, "20 ms"},
		"max < 1m":                     {history.Held, "90 ms"},
		"throughput > 500/s":           {history.Held, "512/s"},
		"throughput > 500":             {history.Held, "512/s"},
		"throughput >= 512.5/s":        {history.Violated, "512/s"},
		"operations >= 1000":           {history.Held, "1000"},
		"unserved == 0":                {history.Violated, "7"},
		"created > 0":                  {history.Held, "900"},
		"conflict == 0":                {history.Held, "0"},
		"failed == 0":                  {history.Violated, "3"},
		"failed <= 3":                  {history.Held, "3"},
		"unknown == 0":                 {history.Held, "0"},
		"retries < 3":                  {history.Violated, "3"},
		"deadlocks <= 4":               {history.Held, "4"},
		"sessions/none: failed == 3":   {history.Held, "3"},
		"sessions : failed == 3":       {history.Held, "3"},
		"sessions/advisory: p99 < 1ms": {history.Unknown, "no such arm"},
	} {
		t.Run(says, func(t *testing.T) {
			r, err := load.ParseRequirement(says)
			require.NoError(t, err)
			judged := r.Judge([]history.Arm{arm("none", 3, 8)})
			require.Len(t, judged, 1)
			require.Equal(t, want.verdict, judged[0].Verdict)
			require.Equal(t, want.was, judged[0].Was)
		})
	}
}

func TestRequirementOfEach(t *testing.T) {
	idle := arm("advisory", 3, 8)
	idle.Operations = 0
	arms := []history.Arm{arm("none", 1, 8), arm("constraint", 3, 8), idle}
	judge := func(says string) (all []string) {
		r, err := load.ParseRequirement(says)
		require.NoError(t, err)
		for _, j := range r.Judge(arms) {
			all = append(all, j.Arm+" "+string(j.Verdict)+" "+j.Was)
		}
		return all
	}
	require.Equal(t, []string{"sessions/none at 1 held 3", "sessions/constraint at 3 held 3", "sessions/advisory at 3 unknown not measured"}, judge("failed < 4"))
	require.Equal(t, []string{"sessions/constraint at 3 violated 3"}, judge("sessions/constraint: failed == 0"))
	require.Equal(t, []string{"sessions/advisory at 3 unknown not measured"}, judge("sessions/advisory: failed == 0"), "what was not measured meets nothing")
}

func TestWrongRequirement(t *testing.T) {
	for says, want := range map[string]string{
		"":                         `"" is not a threshold; try one such as 'p99 < 50ms'`,
		"p99":                      "is not a threshold; try",
		"p99 = 50ms":               "is not a threshold; try",
		"p99 < 50 ms":              "is not a threshold; try",
		"p99 < 50ms, failed == 0":  "is not a threshold; try",
		"sessions none: p99 < 5ms": "is not a threshold; try",
		"p98 < 50ms":               "there is no p98; try one of mean, p50, p90, p99, p99.9, max, throughput",
		"errors == 0":              "there is no errors; try one of",
		"p99 < 50":                 `"50" is nothing to compare p99 with; try a duration, as 50ms`,
		"p99 < -50ms":              "try a duration, as 50ms",
		"throughput > fast":        `"fast" is nothing to compare throughput with; try a rate, as 500/s`,
		"throughput > 500/m":       "try a rate, as 500/s",
		"throughput > Inf":         "try a rate, as 500/s",
		"failed == 0/s":            "try a number, as 0",
		"failed == NaN":            "try a number, as 0",
		"failed == -1":             "try a number, as 0",
	} {
		t.Run(says, func(t *testing.T) {
			_, err := load.ParseRequirement(says)
			require.ErrorContains(t, err, want)
			require.Regexp(t, `; try [^;]+$`, err.Error())
		})
	}
}

func FuzzParseRequirement(f *testing.F) {
	for _, says := range []string{"p99 < 50ms", "throughput > 500/s", "sessions/constraint: failed == 0", "p99.9>=1h", "mean != 1e9s", "x", "failed == 0x1p-2", "é: p50 < 1µs"} {
		f.Add(says)
	}
	arms := []history.Arm{arm("none", 3, 8)}
	f.Fuzz(func(t *testing.T, says string) {
		r, err := load.ParseRequirement(says)
		if err != nil {
			require.Regexp(t, `(?s); try .+$`, err.Error())
			return
		}
		judged := r.Judge(arms)
		require.Len(t, judged, 1)
		require.NotEmpty(t, judged[0].Was)
		again, err := load.ParseRequirement(judged[0].Says)
		require.NoError(t, err)
		require.Equal(t, judged, again.Judge(arms))
	})
}

func TestLabel(t *testing.T) {
	label := func(among ...history.Arm) (all []string) {
		for _, a := range among {
			all = append(all, load.Label(a, among))
		}
		return all
	}
	require.Equal(t, []string{"sessions/none"}, label(arm("none", 3, 8)))
	require.Equal(t, []string{"sessions/none", "sessions/constraint"}, label(arm("none", 3, 8), arm("constraint", 3, 8)))
	require.Equal(t, []string{"sessions/none at 1", "sessions/constraint at 3"}, label(arm("none", 1, 8), arm("constraint", 3, 8)))
	require.Equal(t, []string{"sessions/none at 1", "sessions/none at 3"}, label(arm("none", 1, 8), arm("none", 3, 8)))
	require.Equal(t, []string{"sessions/none, 1 client", "sessions/none, 8 clients"}, label(arm("none", 3, 1), arm("none", 3, 8)))
	require.Equal(t, []string{"sessions/none at 1, 1 client", "sessions/none at 3, 8 clients"}, label(arm("none", 1, 1), arm("none", 3, 8)))
	require.Equal(t, []string{"sessions"}, label(arm("", 3, 8)))
}
