package desk

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSpool: what comes while there is no room is left out and counted, and what comes later is written again.
func TestSpool(t *testing.T) {
	r, w := io.Pipe()
	s := newSpool(w, func(lines int) []byte { return fmt.Appendf(nil, "%d left out\n", lines) })
	longer := append(bytes.Repeat([]byte("x"), mostUnread), '\n')
	s.add([]byte("first\n"))
	reader := bufio.NewReader(r)
	line := func() string {
		line, err := reader.ReadString('\n')
		require.NoError(t, err)
		return line
	}
	require.Equal(t, "first\n", line())
	s.add(longer)            // a line is written however long it is
	_, err := reader.Peek(1) // it is being written
	require.NoError(t, err)
	s.add([]byte("second\n"))
	s.add(longer)
	s.add([]byte("third\n"))
	require.Equal(t, string(longer), line())
	require.Equal(t, "second\n", line())
	require.Equal(t, "2 left out\n", line())
	s.add([]byte("fourth\n"))
	require.Equal(t, "fourth\n", line())
	require.True(t, s.close(t.Context()))
}
