package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The headers of a webhook.
const (
	SignatureHeader = "Interlock-Signature" // t=<seconds since 1970>,v1=<HMAC-SHA256 of "<t>.<body>", hexadecimal>
	DeliveryHeader  = "Interlock-Delivery"  // the id of the delivery, the same at each attempt
	EventHeader     = "Interlock-Event"     // the [Type]
)

// ErrSignature is what [Verify] returns where a body is not to be trusted, with the reason.
var ErrSignature = errors.New("the signature is not valid")

// Sign returns the signature header of a body.
func Sign(secret string, body []byte, now time.Time) string {
	at := now.Unix()
	return fmt.Sprintf("t=%d,v1=%s", at, hex.EncodeToString(sum(secret, at, body)))
}

// Verify checks a body that came with a signature header: that somebody who has the secret signed it, not longer before or after now than the
// tolerance; 0: 5 minutes; negative: whenever. A header may have several v1, of which one must fit; [Sign] writes one.
func Verify(secret, header string, body []byte, tolerance time.Duration, now time.Time) error {
	at, sums, err := parseSignature(header)
	if err != nil {
		return err
	}
	if secret == "" {
		return fmt.Errorf("%w: there is no secret to check it with", ErrSignature)
	}
	want, fits := sum(secret, at, body), false
	for _, got := range sums {
		fits = hmac.Equal(got, want) || fits
	}
	if !fits {
		return fmt.Errorf("%w: it was made with another secret, or of another body; try the body as it came, byte for byte", ErrSignature)
	}
	if tolerance == 0 {
		tolerance = 5 * time.Minute
	}
	if age := now.Unix() - at; tolerance > 0 && (age > int64(tolerance/time.Second) || -age > int64(tolerance/time.Second)) {
		return fmt.Errorf("%w: it was made %d seconds before now; try to set the clock, or a larger tolerance", ErrSignature, age)
	}
	return nil
}

// parseSignature reads a signature header. Parts of other names are left aside.
func parseSignature(header string) (at int64, sums [][]byte, err error) {
	timed := false
	for part := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "t":
			at, err = strconv.ParseInt(value, 10, 64)
			if err != nil || at < 0 || timed || strconv.FormatInt(at, 10) != value {
				return 0, nil, fmt.Errorf("%w: it has no time, or two", ErrSignature)
			}
			timed = true
		case "v1":
			if got, err := hex.DecodeString(value); err == nil && len(got) == sha256.Size {
				sums = append(sums, got)
			}
		}
	}
	if !timed || len(sums) == 0 {
		return 0, nil, fmt.Errorf("%w: it is not as t=1700000000,v1=…", ErrSignature)
	}
	return at, sums, nil
}

func sum(secret string, at int64, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d.", at)
	mac.Write(body)
	return mac.Sum(nil)
}
