package reports_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/reports"
)

// In a bubble of synctest the clock is a fake one, and a goroutine that outlives the test is a failure.

func TestProgressElsewhereIsAHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := reports.NewProgress(&out, false)
		time.Sleep(10*time.Second + 1) // nothing is known yet
		p.Update(1, 42, "sessions/none at 1")
		p.Update(2, 42, "sessions/\x1b[31mnone at 2")
		time.Sleep(25 * time.Second)
		require.NoError(t, p.Close())
		require.NoError(t, p.Close())
		p.Update(3, 42, "too late")
		time.Sleep(time.Minute)
		require.Equal(t, "2 of 42: sessions/\\x1b[31mnone at 2, 20.0 s\n2 of 42: sessions/\\x1b[31mnone at 2, 30.0 s\n", out.String())
	})
}

func TestProgressOnATerminalIsOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := reports.NewProgress(&out, true)
		for i := range 1000 {
			p.Update(i, 1000, "sessions/none at 1")
		}
		time.Sleep(150 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, "\r\x1b[K999 of 1000: sessions/none at 1  100 ms", out.String())
		out.Reset()

		n, err := fmt.Fprintln(p, "a line of the log")
		require.NoError(t, err)
		require.Equal(t, 18, n)
		require.Equal(t, "\r\x1b[Ka line of the log\n", out.String())
		out.Reset()

		p.Update(1000, 1000, "한국어"+string(bytes.Repeat([]byte("x"), 200)))
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, 79, reports.Width(strings.TrimPrefix(out.String(), "\r\x1b[K")), "it does not wrap")
		require.NotContains(t, out.String(), "\n")
		out.Reset()
		require.NoError(t, p.Close())
		require.Equal(t, "\r\x1b[K", out.String())
	})
}

func TestProgressIsSharedAndSaysWhenItCannotWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := reports.NewProgress(full{}, true)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for n := range 100 {
					p.Update(n, 100, fmt.Sprint("worker ", i))
				}
			})
		}
		all.Wait()
		time.Sleep(150 * time.Millisecond) // until it was shown once
		_, err := fmt.Fprint(p, "log")
		require.ErrorContains(t, err, "no space left")
		require.ErrorContains(t, p.Close(), "no space left")
	})
}
