package reports_test

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/reports"
)

// log is SARIF as another program reads it.
type log struct {
	Schema  string `json:"$schema"`
	Version string
	Runs    []struct {
		Tool struct {
			Driver struct {
				Name  string
				Rules []struct {
					ID                     string
					ShortDescription, Help *struct{ Text *string }
					DefaultConfiguration   struct{ Level string }
				}
			}
		}
		AutomationDetails struct{ ID string }
		ColumnKind        string
		Invocations       []struct {
			ExecutionSuccessful        *bool
			StartTimeUtc, EndTimeUtc   *time.Time
			ToolExecutionNotifications []struct {
				Level   string
				Message struct{ Text string }
			}
		}
		Results []result
	}
}

type result struct {
	RuleID    string
	RuleIndex *int
	Level     string
	Message   struct{ Text string }
	Locations []struct {
		PhysicalLocation struct {
			ArtifactLocation struct{ URI string }
			Region           *struct{ StartLine, StartColumn *int }
		}
	}
	PartialFingerprints map[string]string
	Suppressions        *[]struct{ Kind, Justification string }
}

// conforms checks what the standard asks of the parts that are written: what must be there, levels, kinds, URIs, and that indexes point where
// they say.
func conforms(t testing.TB, raw []byte) log {
	t.Helper()
	levels := []string{"none", "note", "warning", "error"}
	var all log
	require.NoError(t, json.Unmarshal(raw, &all))
	require.True(t, onlyText(strings.ReplaceAll(string(raw), `\n`, "")))
	require.Equal(t, "2.1.0", all.Version)
	require.Contains(t, all.Schema, "sarif-2.1.0")
	require.Len(t, all.Runs, 1)
	run := all.Runs[0]
	require.NotEmpty(t, run.Tool.Driver.Name)
	require.NotNil(t, run.Tool.Driver.Rules)
	require.NotNil(t, run.Results, "no results are said to be none")
	require.Equal(t, "unicodeCodePoints", run.ColumnKind)
	ids := map[string]bool{}
	for _, rule := range run.Tool.Driver.Rules {
		require.NotEmpty(t, rule.ID)
		require.False(t, ids[rule.ID], "%s is there twice", rule.ID)
		ids[rule.ID] = true
		require.NotEmpty(t, *rule.ShortDescription.Text)
		require.NotEmpty(t, *rule.Help.Text)
		require.Contains(t, levels, rule.DefaultConfiguration.Level)
	}
	for _, one := range run.Invocations {
		require.NotNil(t, one.ExecutionSuccessful)
		for _, n := range one.ToolExecutionNotifications {
			require.Contains(t, levels, n.Level)
			require.NotEmpty(t, n.Message.Text)
		}
	}
	for _, r := range run.Results {
		require.Equal(t, r.RuleID, run.Tool.Driver.Rules[*r.RuleIndex].ID)
		require.Contains(t, levels, r.Level)
		require.NotEmpty(t, r.Message.Text)
		require.NotRegexp(t, `(^|[^\\])\]\(`, r.Message.Text, "a link")
		require.NotNil(t, r.Suppressions, "they are in all results or in none")
		for _, s := range *r.Suppressions {
			require.Equal(t, "inSource", s.Kind)
		}
		require.Len(t, r.Locations, 1)
		at := r.Locations[0].PhysicalLocation
		uri, err := url.Parse(at.ArtifactLocation.URI)
		require.NoError(t, err)
		require.Empty(t, uri.Scheme)
		require.Empty(t, uri.Host)
		require.NotEmpty(t, uri.Path)
		require.NotContains(t, at.ArtifactLocation.URI, " ")
		if at.Region != nil {
			require.Positive(t, *at.Region.StartLine)
			if at.Region.StartColumn != nil {
				require.Positive(t, *at.Region.StartColumn)
			}
		}
		for _, sum := range r.PartialFingerprints {
			require.Len(t, sum, 64)
		}
	}
	return all
}

func sarif(t testing.TB, run history.Run) log {
	t.Helper()
	return conforms(t, []byte(render(t, reports.SARIF, run)))
}

func TestGoldenSARIF(t *testing.T) {
	for name, run := range gateSamples() {
		t.Run(name, func(t *testing.T) {
			got, path := render(t, reports.SARIF, run), filepath.Join("testdata", name+".sarif")
			if *update {
				require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err, "try: go test ./reports -update")
			require.Equal(t, string(want), got)
			require.NotContains(t, got, "secret")
			conforms(t, []byte(got))
		})
	}
}

func TestSARIFOfFindings(t *testing.T) {
	seed := sarif(t, recorded("gate-seed")).Runs[0]
	require.Equal(t, "interlock/gate", seed.AutomationDetails.ID)
	require.Len(t, seed.Results, 5)
	i := slices.IndexFunc(seed.Results, func(r result) bool { return r.RuleID == "index-not-immutable" })
	one := seed.Results[i]
	require.Equal(t, "error", one.Level)
	require.Equal(t, 5, *one.Locations[0].PhysicalLocation.Region.StartLine)
	require.Equal(t, 1, *one.Locations[0].PhysicalLocation.Region.StartColumn)
	require.Equal(t, "prisma/migrations/20251110_add_partial_unique_indexes/migration.sql", one.Locations[0].PhysicalLocation.ArtifactLocation.URI)
	require.Contains(t, one.Message.Text, "42P17")
	require.Contains(t, one.Message.Text, "AT TIME ZONE 'UTC'")
	require.Empty(t, *one.Suppressions)
	require.True(t, *seed.Invocations[0].ExecutionSuccessful)
	require.Nil(t, seed.Results[slices.IndexFunc(seed.Results, func(r result) bool { return r.RuleID == "lock-timeout-missing" })].
		Locations[0].PhysicalLocation.Region, "it is about the whole file")

	clean := sarif(t, recorded("gate-clean")).Runs[0]
	i = slices.IndexFunc(clean.Results, func(r result) bool { return r.RuleID == "table-rewritten" })
	require.Equal(t, "at most 200 rows in production, see OPS-12", (*clean.Results[i].Suppressions)[0].Justification)

	full := sarif(t, recorded("gate-full")).Runs[0]
	require.Empty(t, full.Results, "what the environment did is not the migration's")
	require.False(t, *full.Invocations[0].ExecutionSuccessful)
	require.Len(t, full.Invocations[0].ToolExecutionNotifications, 2)
}

func TestFingerprintsOutliveMoves(t *testing.T) {
	prints := func(change func(f *history.Finding)) map[string]string {
		run := recorded("gate-seed")
		change(&run.Gate.Migrations[0].Findings[2])
		for _, r := range sarif(t, run).Runs[0].Results {
			if strings.Contains(r.Message.Text, "IMMUTABLE") {
				return r.PartialFingerprints
			}
		}
		return nil
	}
	was := prints(func(*history.Finding) {})
	require.Len(t, was, 1)
	require.Equal(t, was, prints(func(f *history.Finding) { f.Line, f.Column = 500, 3 }))
	require.Equal(t, was, prints(func(f *history.Finding) { f.Statement = strings.ReplaceAll(f.Statement, "\n", "\n\n    ") }))
	require.NotEqual(t, was, prints(func(f *history.Finding) { f.Statement += " WHERE true" }))
	require.NotEqual(t, was, prints(func(f *history.Finding) { f.Rule = "another" }))
}

func TestPathsInSARIF(t *testing.T) {
	for path, want := range map[string]string{
		"./db/1.sql": "db/1.sql", "db/a b#1?.sql": "db/a%20b%231%3F.sql", "C:x.sql": "./C:x.sql", "db/한국.sql": "db/%ED%95%9C%EA%B5%AD.sql",
	} {
		run := recorded("gate-seed")
		run.Gate.Migrations[0].Findings = run.Gate.Migrations[0].Findings[:1]
		run.Gate.Migrations[0].Findings[0].File = path
		require.Equal(t, want, sarif(t, run).Runs[0].Results[0].Locations[0].PhysicalLocation.ArtifactLocation.URI)
	}
}

func TestSARIFIsForGatesOnly(t *testing.T) {
	require.ErrorContains(t, reports.SARIF(new(strings.Builder), violatedRun()), "another format")
	require.ErrorContains(t, reports.SARIF(full{}, recorded("gate-seed")), "no space left")
	sarif(t, history.Run{Kind: history.KindGate})
}
