package deploy_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// metricsIn returns the names of the metrics in an expression, as they are declared.
func metricsIn(expr string) []string {
	expr = regexp.MustCompile(`"[^"]*"|\{\{.*?\}\}`).ReplaceAllString(expr, "")
	var all []string
	for _, name := range regexp.MustCompile(`\b(?:interlock|process|go|promhttp)_[a-z0-9_]+`).FindAllString(expr, -1) {
		all = append(all, strings.TrimSuffix(name, "_bucket"))
	}
	return all
}

// The dashboard and the rules name the metrics of testdata/metrics.txt. That serve has them is for its own tests to see.
func TestTheDashboardAndTheRules(t *testing.T) {
	t.Parallel()
	known := strings.Fields(read(t, "testdata/metrics.txt"))
	require.True(t, slices.IsSorted(known))
	check := func(where, expr string) {
		names := metricsIn(expr)
		require.NotEmpty(t, names, "%s: %s", where, expr)
		require.Equal(t, strings.Count(expr, "("), strings.Count(expr, ")"), "%s: %s", where, expr)
		for _, name := range names {
			require.Contains(t, known, name, "%s: %s", where, expr)
		}
	}

	var board struct {
		Title      string
		UID        string
		Templating struct {
			List []struct{ Name, Definition string }
		}
		Panels []struct {
			ID      int
			Title   string
			Type    string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(read(t, "grafana.json")), &board))
	require.Equal(t, "interlock", board.UID)
	require.Equal(t, "datasource", board.Templating.List[0].Name)
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range board.Panels {
		require.False(t, ids[p.ID], "two panels have the number %d", p.ID)
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			require.Less(t, x, 24, p.Title)
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				require.Empty(t, taken[[2]int{x, y}], "%s lies on another", p.Title)
				taken[[2]int{x, y}] = p.Title
			}
		}
		require.Equal(t, p.Type == "row", len(p.Targets) == 0, p.Title)
		for _, target := range p.Targets {
			check(p.Title, target.Expr)
			require.Contains(t, target.Expr, `{job=~"$job"`, p.Title)
		}
	}

	groups := documents(t, "alerts.yaml")[0]
	names, exprs := map[string]bool{}, map[string]string{}
	for _, rule := range at(t, groups, "groups", 0, "rules").([]any) {
		name := at(t, rule, "alert").(string)
		require.False(t, names[name])
		names[name] = true
		exprs[name] = at(t, rule, "expr").(string)
		check(name, exprs[name])
		require.NotEmpty(t, at(t, rule, "labels", "severity"), name)
		require.NotEmpty(t, at(t, rule, "annotations", "summary"), name)
		require.NotEmpty(t, at(t, rule, "annotations", "description"), name)
	}
	require.Equal(t, "1m", at(t, groups, "groups", 0, "rules", 0, "for"))
	require.Contains(t, exprs["InterlockViolation"], `(interlock_verdict{verdict="unknown"} == 0)`, "one that is cut off does not keep it firing")
	require.Equal(t, "interlock_ready == 0", exprs["InterlockNotReady"], "of any one")
}
