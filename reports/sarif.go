package reports

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
)

// The parts of SARIF 2.1.0 that we write, named as in the standard.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Automation  sarifAutomation   `json:"automationDetails"`
		Invocations []sarifInvocation `json:"invocations"`
		ColumnKind  string            `json:"columnKind"`
		Results     []sarifResult     `json:"results"` // none: nothing was found
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID     string       `json:"id"`
		Short  sarifMessage `json:"shortDescription"`
		Help   sarifMessage `json:"help"`
		Levels sarifLevel   `json:"defaultConfiguration"`
	}
	sarifLevel struct {
		Level string `json:"level"`
	}
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifAutomation struct {
		ID string `json:"id"`
	}
	sarifInvocation struct {
		Command       string              `json:"commandLine,omitempty"`
		Start         string              `json:"startTimeUtc,omitempty"`
		End           string              `json:"endTimeUtc,omitempty"`
		Successful    bool                `json:"executionSuccessful"`
		Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level     string          `json:"level"`
		Message   sarifMessage    `json:"message"`
		Locations []sarifLocation `json:"locations,omitempty"`
	}
	sarifResult struct {
		Rule         string             `json:"ruleId"`
		Index        int                `json:"ruleIndex"`
		Level        string             `json:"level"`
		Message      sarifMessage       `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Fingerprints map[string]string  `json:"partialFingerprints"`
		Suppressions []sarifSuppression `json:"suppressions"` // none: it counts; the standard wants it in all results or in none
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"` // nil: the whole file
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		Line   int `json:"startLine"`
		Column int `json:"startColumn,omitempty"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification"`
	}
)

// SARIF writes the findings of judged migrations for code scanning. What kept the run from judging is a notification, not a result. It is an
// error to ask it for a run of another kind.
func SARIF(w io.Writer, run history.Run) error {
	if run.Kind != history.KindGate {
		return fmt.Errorf("SARIF is about files, which a run of kind %q has none of; try a run of interlock gate, or another format", string(run.Kind))
	}
	out := sarifRun{
		Tool:       sarifTool{Driver: sarifDriver{Name: "interlock", Version: clean(run.Tool.Version), Rules: []sarifRule{}}},
		Automation: sarifAutomation{ID: "interlock/gate"}, ColumnKind: "unicodeCodePoints", Results: []sarifResult{},
	}
	if run.Gate != nil {
		out.Tool.Driver.Rules = sarifRules(*run.Gate)
		for _, j := range run.Gate.Migrations {
			for _, f := range ordered(j) {
				out.Results = append(out.Results, sarifOf(f, j, out.Tool.Driver.Rules))
			}
		}
	}
	out.Invocations = []sarifInvocation{invocation(run)}

	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(sarifLog{
		Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{out},
	}); err != nil {
		return fmt.Errorf("writing SARIF: %w", err)
	}
	return write(w, b.Bytes())
}

// sarifOf returns a finding as a result.
func sarifOf(f history.Finding, j history.Judged, rules []sarifRule) sarifResult {
	one := found(f, j)
	index, _ := slices.BinarySearchFunc(rules, ruleID(f), func(r sarifRule, id string) int { return cmp.Compare(r.ID, id) })
	r := sarifResult{
		Rule: ruleID(f), Index: index, Level: sarifSeverity(f.Level), Message: message(one.plain()),
		Locations:    []sarifLocation{location(cmp.Or(f.File, j.Path), f.Line, f.Column)},
		Fingerprints: map[string]string{"interlockStatement/v1": fingerprint(f)}, Suppressions: []sarifSuppression{},
	}
	if f.Allowed != "" {
		r.Suppressions = append(r.Suppressions, sarifSuppression{Kind: "inSource", Justification: one.allowed})
	}
	return r
}

// sarifRules returns the rules of all findings, in order of their names, with the weight of the heaviest finding.
func sarifRules(g history.Gate) []sarifRule {
	weights := []string{"note", "warning", "error"}
	rules := []sarifRule{}
	for _, j := range g.Migrations {
		for _, f := range j.Findings {
			id, level := ruleID(f), sarifSeverity(f.Level)
			at, known := slices.BinarySearchFunc(rules, id, func(r sarifRule, id string) int { return cmp.Compare(r.ID, id) })
			if !known {
				rules = slices.Insert(rules, at, sarifRule{
					ID: id, Short: message(strings.ReplaceAll(id, "-", " ")), Help: message(help(f, id)), Levels: sarifLevel{level},
				})
			} else if slices.Index(weights, level) > slices.Index(weights, rules[at].Levels.Level) {
				rules[at].Levels.Level = level
			}
		}
	}
	return rules
}

// situations says what a migration is put into by each trial.
var situations = map[history.TrialName]string{
	history.TrialEmpty:       "applied to a fresh schema",
	history.TrialPopulated:   "applied over data that was made for the schema",
	history.TrialDirty:       "applied over data that its constraints must refuse",
	history.TrialLive:        "applied while clients work and a long transaction is open",
	history.TrialInterrupted: "cancelled, and its backend killed, at each statement",
	history.TrialTwice:       "applied once more",
	history.TrialDown:        "taken back, and applied again",
	history.TrialAfter:       "done, and the schema that it leaves is used",
}

// help says how a rule's findings come about, and how one is silenced.
func help(f history.Finding, id string) string {
	how := "Interlock finds this by reading the migration with Postgres' own grammar."
	if when := situations[f.Trial]; when != "" {
		how = "Interlock finds this by running the migration against a real Postgres: it is " + when + "."
	} else if f.Trial != "" {
		how = "Interlock finds this by running the migration against a real Postgres."
	}
	return how + " Each finding says what was seen, and what to write instead. " +
		"Where it is meant to be so, write `-- interlock: allow " + id + " <reason>` in the file."
}

// invocation says how the run went. What was not judged, or not for a finding's sake, is a notification.
func invocation(run history.Run) sarifInvocation {
	inv := sarifInvocation{Command: command(run.Command), Successful: run.Trouble == "" && run.Verdict != history.Unknown && run.Gate != nil}
	if !run.Started.IsZero() {
		inv.Start = run.Started.UTC().Format(time.RFC3339)
		inv.End = run.Started.Add(time.Duration(max(0, run.Elapsed))).UTC().Format(time.RFC3339)
	}
	if run.Trouble != "" {
		inv.Notifications = append(inv.Notifications, sarifNotification{Level: "error", Message: message("cut short: " + prose(run.Trouble))})
	}
	if run.Gate == nil {
		return inv
	}
	for _, j := range run.Gate.Migrations {
		for _, t := range judged(j).trials {
			if t.tone != open {
				continue
			}
			inv.Successful = false
			inv.Notifications = append(inv.Notifications, sarifNotification{
				Level: "warning", Message: message(plainly("trial " + t.title + ": " + t.says)), Locations: []sarifLocation{location(j.Path, 0, 0)},
			})
		}
	}
	return inv
}

func ruleID(f history.Finding) string { return cmp.Or(clean(f.Rule), "unnamed") }

func sarifSeverity(l history.Level) string {
	switch l {
	case history.LevelError, history.LevelNote:
		return string(l)
	}
	return "warning"
}

// message returns a text that is shown as it is: the standard reads "[words](target)" as a link even in plain text.
func message(s string) sarifMessage {
	return sarifMessage{Text: cmp.Or(strings.ReplaceAll(plainly(s), "](", `\](`), "no words")}
}

// location returns a place in a file. Its URI has no scheme; it is relative wherever the migrations were given by a relative path.
func location(file string, line, column int) sarifLocation {
	at := sarifLocation{sarifPhysical{Artifact: sarifArtifact{URI: (&url.URL{Path: relative(strings.ToValidUTF8(file, "\ufffd"))}).String()}}}
	if line > 0 {
		at.Physical.Region = &sarifRegion{Line: line, Column: max(0, column)}
	}
	return at
}

// fingerprint stays the same when a statement moves to another line, is laid out anew, or goes into another file.
func fingerprint(f history.Finding) string {
	text := strings.Join(strings.Fields(f.Statement), " ")
	if text == "" {
		text = relative(f.File)
	}
	sum := sha256.Sum256([]byte(f.Rule + "\x00" + text))
	return hex.EncodeToString(sum[:])
}
