package notify

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	body := []byte(`{"format":1}`)
	good := Sign(secret, body, base)
	// printf '1762768800.{"format":1}' | openssl dgst -sha256 -hmac 'a secret that is long enough', for 2025-11-10 10:00
	require.Equal(t, "t=1762768800,v1=785aaec865c90715bc3ca731c49181afff3f4f1875fb04faca2c7d26e55531ca", Sign(secret, body, time.Date(2025, 11, 10, 10, 0, 0, 0, time.UTC)))
	other := Sign("another secret of ours", body, base)
	_, otherSum, _ := strings.Cut(other, ",")
	for _, c := range []struct {
		what, secret, header, body string
		tolerance                  time.Duration
		late                       time.Duration
		want                       string // empty: it is valid
	}{
		{what: "valid"},
		{what: "late, within", late: 5 * time.Minute},
		{what: "early, within", late: -5 * time.Minute},
		{what: "late", late: 5*time.Minute + time.Second, want: "301 seconds"},
		{what: "early", late: -5*time.Minute - time.Second, want: "-301 seconds"},
		{what: "late, tolerated", late: time.Hour, tolerance: 2 * time.Hour},
		{what: "late, whenever", late: 1000 * time.Hour, tolerance: -1},
		{what: "another secret", secret: "another secret of ours", want: "another secret"},
		{what: "no secret", secret: "-", want: "no secret"},
		{what: "another body", body: `{"format":2}`, want: "another body"},
		{what: "another time", header: strings.Replace(good, "t=17", "t=16", 1), want: "another secret"},
		{what: "two sums", header: good + "," + otherSum},
		{what: "two sums, the other way round", header: other + "," + strings.SplitN(good, ",", 2)[1]},
		{what: "parts of other names", header: "v0=abc," + good + ",v2=zz"},
		{what: "spaces", header: strings.Replace(good, ",", ", ", 1)},
		{what: "two times", header: "t=1," + good, want: "two"},
		{what: "no time", header: otherSum, want: "not as t="},
		{what: "no sum", header: "t=1", want: "not as t="},
		{what: "short sum", header: good[:len(good)-2], want: "not as t="},
		{what: "nothing", header: " ", want: "not as t="},
		{what: "negative", header: "t=-1,v1=00", want: "no time"},
		{what: "signed", header: "t=+1,v1=00", want: "no time"},
		{what: "too large", header: "t=9999999999999999999,v1=00", want: "no time"},
	} {
		t.Run(c.what, func(t *testing.T) {
			with, header, of := secret, good, body
			if c.secret == "-" {
				with = ""
			} else if c.secret != "" {
				with = c.secret
			}
			if c.header != "" {
				header = c.header
			}
			if c.body != "" {
				of = []byte(c.body)
			}
			err := Verify(with, header, of, c.tolerance, base.Add(c.late))
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrSignature)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), secret)
		})
	}
}

// FuzzSignature reads headers; none is valid that was not made with the secret.
func FuzzSignature(f *testing.F) {
	for _, header := range []string{
		"", "t=1", "t=1,v1=", "t=,v1=00", "t=1,v1=zz", ",,,=,==", "v1=00,t=1", "t=1,t=2,v1=" + strings.Repeat("00", 32), "t=1,v1=" + strings.Repeat("00", 32),
		"t = 1 , v1 = " + strings.Repeat("ab", 32), "t=1;v1=" + strings.Repeat("ab", 32), Sign(secret, []byte("another"), base), "t=01,v1=" + strings.Repeat("00", 32),
	} {
		f.Add(header, []byte("body"))
	}
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		at, sums, err := parseSignature(header)
		if err == nil {
			require.GreaterOrEqual(t, at, int64(0))
			require.NotEmpty(t, sums)
		} else {
			require.ErrorIs(t, err, ErrSignature)
		}
		require.ErrorIs(t, Verify(secret, header, body, -1, base), ErrSignature)
		require.NoError(t, Verify(secret, Sign(secret, body, base), body, 0, base))
	})
}
