package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	_, err := New(Config{
		Groups: 501, Link: "javascript:alert(1)",
		Destinations: []Destination{
			{Name: "a", Kind: "mail", URL: "https://verysecret.example.org"},
			{Name: "b", Kind: Slack, URL: "hooks.slack.com/services/verysecret"},
			{Name: "b", Kind: Slack, URL: "https://hooks.slack.com/services/verysecret%zz"},
			{Name: "c", Kind: Webhook, URL: "https://example.org/verysecret", Secret: "verysecret"},
			{Name: "d", Kind: Slack, URL: "https://example.org/verysecret", Secret: "verysecretverysecret"},
			{Kind: Slack, URL: "https://example.org/verysecret"},
		},
	}, nil)
	for _, want := range []string{
		"501 groups", "the link is none", `of kind "mail"; try slack or webhook`, `the URL of destination b is none`, `two destinations are named "b"`,
		"destination c has 10 characters, and needs 16; try: openssl", "d is Slack's and has a secret", "has no name",
	} {
		require.ErrorContains(t, err, want)
	}
	require.NotContains(t, err.Error(), "verysecret")
	_, err = New(Config{}, nil)
	require.NoError(t, err, "nobody is to be told")
}

// TestHidden prints a destination in every way.
func TestHidden(t *testing.T) {
	t.Parallel()
	d := Destination{Name: "ops", Kind: Webhook, URL: "https://user:verysecret@example.org/verysecret?token=verysecret", Secret: "verysecretverysecret"}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "d", d, "url", d.URL)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "d", d, "url", d.URL)
	text, err := json.Marshal(d)
	require.NoError(t, err)
	for _, said := range []string{
		fmt.Sprint(d), fmt.Sprintf("%v %+v %#v %s %q", d, d, d, d, d.URL), string(text), log.String(), d.host(),
		d.clean("no such token: verysecret, at https://user:verysecret@example.org/verysecret?token=verysecret"),
	} {
		require.NotContains(t, said, "verysecret")
	}
	require.Equal(t, "example.org", d.host())
	require.Equal(t, "a b?", d.clean("a\x00\n\tb\xff"))
	require.Len(t, []rune(d.clean(string(make([]byte, 1000))+fmt.Sprintf("%01000d", 1))), 200)
}

// TestErrorsHideTheURL goes where nobody is, to where nobody answers in time, and to where the answer repeats what was asked.
func TestErrorsHideTheURL(t *testing.T) {
	t.Parallel()
	nobody, _ := port(t)
	echo := receive(t, func(w http.ResponseWriter, g got) int { return 0 })
	rude := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintln(w, "no:", r.URL)
	})
	url, listen := port(t)
	listen(rude)
	for _, at := range []string{nobody, echo.URL + "/", url, "https" + url[4:]} {
		var log bytes.Buffer
		config := quick(at + "hushhush?token=hushhush")
		config.Log = slog.New(slog.NewTextHandler(&log, nil))
		outbox := place{Store{File: t.TempDir() + "/state.json"}, "file"}.open(t)
		n, stop := start(t, config, outbox)
		require.NoError(t, n.Observe(context.Background(), result(0, "a")))
		d := failing(t, n)
		stop()
		require.NotEmpty(t, d.Why+d.DeadWhy)
		require.NotContains(t, fmt.Sprintf("%+v %s", n.Status(), log.String()), "hushhush")
	}
}

// TestHide shows nothing of groups but how many there are.
func TestHide(t *testing.T) {
	t.Parallel()
	ops := receive(t, nil)
	config := quick(ops.URL)
	config.Hide = true
	n, _ := start(t, config, place{Store{File: t.TempDir() + "/state.json"}, "file"}.open(t))
	require.NoError(t, n.Observe(t.Context(), result(0, "AED-1")))
	all := ops.awaitTypes(Broke)
	require.NotContains(t, all[0].body, "AED-1")
	require.NotContains(t, all[0].body, "facts")
	require.Empty(t, all[0].Groups)
	require.Equal(t, Tally{1, 2}, all[0].Now)
}
