package deploy_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func verify(secret, header string, body []byte, now time.Time) bool {
	var at string
	var sums [][]byte // serve sends one; what speaks for it may send more
	for part := range strings.SplitSeq(header, ",") {
		switch name, value, _ := strings.Cut(strings.TrimSpace(part), "="); name {
		case "t":
			at = value
		case "v1":
			if sum, err := hex.DecodeString(value); err == nil {
				sums = append(sums, sum)
			}
		}
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(at + "."))
	mac.Write(body)
	want := mac.Sum(nil)
	return slices.ContainsFunc(sums, func(sum []byte) bool { return hmac.Equal(sum, want) })
}

// The receivers that the reference shows take what is signed, and nothing else.
func TestTheReceiversOfTheReference(t *testing.T) {
	t.Parallel()
	text := read(t, "../SERVE.md")
	shown := regexp.MustCompile("(?s)```go\n(.*?)```").FindStringSubmatch(text)
	require.NotNil(t, shown)
	require.Contains(t, read(t, "signature_test.go"), "\n"+shown[1]+"\n")
	python := regexp.MustCompile("(?s)```python\n(.*?)```").FindStringSubmatch(text)
	require.NotNil(t, python)

	const secret, body, at = "0f4c3a81d2b95e67", `{"format":1}`, 1700000000
	// printf '1700000000.{"format":1}' | openssl dgst -sha256 -hmac 0f4c3a81d2b95e67
	const sum = "f995860baf93e22f859a8d4723f2f7a9a20acde43964ab8f4dafd389906a7176"
	script := python[1]
	for i, c := range []struct {
		header, body string
		now          int64
		want         bool
	}{
		{"t=1700000000,v1=" + sum, body, at, true},
		{"t=1700000000,v1=" + sum, body, at + 299, true},
		{"v1=" + strings.Repeat("0", 64) + ", t=1700000000, v1=" + sum, body, at, true},
		{"t=1700000000,v1=" + sum, body + " ", at, false},
		{"t=1700000000,v1=" + sum, body, at + 301, false},
		{"t=1700000000,v1=" + sum, body, at - 301, false},
		{"t=1700000001,v1=" + sum, body, at, false},
		{"t=1700000000,v1=" + sum[2:], body, at, false},
		{"t=1700000000,v0=" + sum, body, at, false},
		{"t=,v1=" + sum, body, at, false},
		{"t=x,v1=ä", body, at, false},
		{"v1=" + sum, body, at, false},
		{"", body, at, false},
	} {
		require.Equal(t, c.want, verify(secret, c.header, []byte(c.body), time.Unix(c.now, 0)), "%d: %s", i, c.header)
		expected := "False"
		if c.want {
			expected = "True"
		}
		script += fmt.Sprintf("assert verify(%q, %q, b%q, %d) is %s, %d\n", secret, c.header, c.body, c.now, expected, i)
	}
	program, err := exec.LookPath("python3")
	if err != nil {
		t.Skipf("the receiver in Python was not run: %v; try: apt-get install python3", err)
	}
	command := exec.CommandContext(t.Context(), program, "-")
	command.Stdin = strings.NewReader(script)
	out, err := command.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
