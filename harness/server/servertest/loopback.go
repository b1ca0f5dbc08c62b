package servertest

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
)

// Loopback returns an address of this machine that nobody else is likely to have, for a server's listen_addresses: its port is always the same. Only
// Linux has more than one without asking; elsewhere, the test is skipped.
func Loopback(t testing.TB) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has loopback addresses enough; try it there")
	}
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250))
}
