package settings_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/monitor/notify"
	"github.com/interlock-pg/interlock/harness/monitor/settings"
	"github.com/interlock-pg/interlock/harness/monitor/web"
)

const whole = `
postgres: {environment: DATABASE_URL}
listen: ":8080"
tls: {certificate: cert.pem, key: key.pem}
behind_tls: true
public: {health: true, metrics: true}
tokens:
  - {name: grafana, role: read, file: grafana.token}
  - {name: ops, role: repair, environment: OPS_TOKEN}
window: 30m
checks: {every: 10s, full: 5m, timeout: 30s, lock_timeout: 1s, schedule: "0 * * * *", zone: Asia/Seoul}
repair: {mode: apply, schedule: "0 3 * * *", zone: Asia/Seoul, keep: newest, most: 100}
notify:
  destinations:
    - {name: team, kind: slack, url: {file: slack.url}}
    - {name: pager, kind: webhook, url: {environment: PAGER}, secret: {environment: PAGER_SECRET}}
  outbox: {table: true, file: state.json}
  source: production
  link: https://interlock.example.org/
  groups: 5
  hide: true
  update: 15m
  heal_for: 30s
`

func TestEveryKey(t *testing.T) {
	t.Parallel()
	s, err := settings.Parse("/etc/interlock/serve.yaml", []byte(whole))
	require.NoError(t, err)
	require.Equal(t, "DATABASE_URL", s.Postgres.Environment)
	require.Equal(t, []settings.Token{
		{Name: "grafana", Role: web.Read, Secret: settings.Secret{File: "grafana.token"}},
		{Name: "ops", Role: web.Repair, Secret: settings.Secret{Environment: "OPS_TOKEN"}},
	}, s.Tokens)
	require.Equal(t, "Asia/Seoul", s.Repair.Zone.String())
	require.Equal(t, 5*time.Minute, s.Checks.Full)
	require.Equal(t, notify.Webhook, s.Notify.Destinations[1].Kind)
	require.True(t, s.Notify.Hide)
	require.Equal(t, 30*time.Second, s.Notify.HealFor)
	require.Equal(t, "/etc/interlock/state.json", s.Resolve(s.Notify.Outbox.File))
	require.Equal(t, "/run/x", s.Resolve("/run/x"))
}

// Each mistake is told with its line and what to try, and all at once.
func TestMistakes(t *testing.T) {
	t.Parallel()
	for text, says := range map[string][]string{
		"listen: 8080":                             {`1:9: "8080" is no address to listen at`, "host:port"},
		"lisen: x":                                 {`there is no key "lisen" here`, "listen"},
		"postgres: secret":                         {"1:11: a mapping belongs here", "environment or file"},
		"postgres: {}":                             {"a secret is in a file or in an environment variable"},
		"postgres: {file: a, environment: B}":      {"one of both"},
		"tokens: [{role: read, file: a}]":          {"the token has no name"},
		"tokens: [{name: a, file: a}]":             {"role: read or role: repair"},
		"tokens: [{name: a, role: raed, file: a}]": {`"raed" is none of them`, "try: read"},
		"tokens:\n- {name: a, role: read, file: a}\n- {name: a, role: read, file: b}": {`3:`, `two tokens called "a"`},
		"repair: {schedule: '@daily'}":             {"mode: dry-run or mode: apply"},
		"repair: {mode: applyy}":                   {"try: apply"},
		"repair: {mode: apply, zone: Korea/Seoul}": {`"Korea/Seoul" is no time zone`},
		"repair: {mode: apply, zone: Local}":       {`"Local" is no time zone`},
		"notify: {}":                               {"nobody is told", "where messages wait"},
		"notify: {outbox: {table: true}, destinations: [{name: a, kind: slack, url: {file: a}, secret: {file: b}}]}": {"Slack wants no signature"},
		"notify: {outbox: {table: true}, destinations: [{name: a, kind: webhook, url: {file: a}}]}":                  {"a secret is in a file"},
		"checks: {every: -1s}":           {"is no time span"},
		"repair: {mode: apply, most: 0}": {"may cancel nothing"},
		"tls: {certificate: a}":          {"TLS needs two files"},
		"listen: :99999":                 {`1:9: ":99999" is no address to listen at`},
		"":                               {"there is nothing in it", "docs/SERVE.md"},
		"listen: localhost:nosuchport":   {"is no address to listen at"},
		"window: 0s":                     {"1:9: 0s is less than a millisecond", "try: 30m, or leaving it out"},
		"checks: {full: 1us}":            {"1:16: 1µs is less than a millisecond", "5m"},
		"checks:\n  timeout: 0s\n  lock_timeout: 0s":                        {"2:12: 0s is less", "3:17: 0s is less"},
		"checks: {schedule: at noon}":                                       {`1:20: the schedule "at noon" has 2 fields, and needs 5`, "try: 0 3 * * *"},
		"checks: {schedule: ''}":                                            {"has 0 fields"},
		"repair: {mode: apply, schedule: 0 25 * * *}":                       {`the hour of the schedule "0 25 * * *" is "25", and takes 0 to 23`},
		"repair:\n  mode: apply\n  schedule: CRON_TZ=Korea/Seoul 0 3 * * *": {`3:13: there is no time zone "Korea/Seoul"`},
		"repair: {mode: apply, keep: newst}":                                {`1:29: "newst" is none of them`, "try: newest"},
		"repair: {mode: loud, keep: newst}":                                 {`"loud" is none of them`, `"newst" is none of them`},
		"notify: {link: 'javascript:alert(1)', groups: 501, update: 0s, heal_for: 1ns}": {
			"1:16: the link is none", "try: one as https://", "1:47: a message cannot list 501 groups", "0s is less", "1ns is less",
		},
		"notify: {outbox: {table: true}, destinations: [{name: a, kind: mail, url: {file: a}}]}": {`"mail" is none of them`, "slack or webhook"},
	} {
		_, err := settings.Parse("serve.yaml", []byte(text), "newest", "oldest")
		for _, words := range says {
			require.ErrorContains(t, err, words, text)
		}
		require.ErrorContains(t, err, "serve.yaml:", text)
	}
}

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "token"), []byte("\n  the token \nsomething else"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "empty"), []byte("\n"), 0o600))
	t.Setenv("THE_TOKEN", "from the environment")
	s, err := settings.Parse(filepath.Join(dir, "serve.yaml"), []byte("listen: :0"))
	require.NoError(t, err)
	for of, want := range map[settings.Secret]string{{File: "token"}: "the token", {Environment: "THE_TOKEN"}: "from the environment"} {
		got, err := s.Read(of, "a token")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for of, says := range map[settings.Secret]string{{File: "empty"}: "there is nothing in", {File: "gone"}: "try another file", {Environment: "NO_SUCH"}: "is empty"} {
		_, err := s.Read(of, "a token")
		require.ErrorContains(t, err, says)
		require.ErrorContains(t, err, "a token: ")
	}
	_, err = settings.Load(filepath.Join(dir, "none.yaml"))
	require.ErrorContains(t, err, "docs/SERVE.md")
}

// FuzzParse: whatever is in a file, there are settings or an error that says where.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("tokens: [{name: a, role: read, file: a}, *x]"))
	f.Add([]byte("notify: &n {destinations: [<<: *n]}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := settings.Parse("serve.yaml", text)
		require.Equal(t, s == nil, err != nil)
		if err != nil {
			require.Contains(t, err.Error(), "serve.yaml:")
		}
	})
}
