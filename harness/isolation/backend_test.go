package isolation

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// slow is a connection on which pgconn begins to read beside, for its writes take long. It cannot be polled.
type slow struct{ net.Conn }

func (c slow) Write(p []byte) (int, error) {
	time.Sleep(50 * time.Millisecond)
	return c.Conn.Write(p)
}

// What the server says is not lost to a reader that pgconn has left behind.
func TestSlowConnection(t *testing.T) {
	config := servertest.Database(t, "").Config("slow")
	config.AfterNetConnect = func(_ context.Context, _ *pgconn.Config, conn net.Conn) (net.Conn, error) { return slow{conn}, nil }
	b, err := connect(t.Context(), config, "s", map[string]string{"p": "SELECT 1"})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 2 {
		b.send("SELECT 1 AS one")
		require.NoError(t, b.drain(ctx)) // does not wait
		said, more, err := b.next(ctx)
		require.NoError(t, err)
		require.True(t, more)
		require.Equal(t, [][]string{{"1"}}, said.result.table.rows)
		_, more, err = b.next(ctx)
		require.NoError(t, err)
		require.False(t, more)
	}
	b.leave()
	require.NoError(t, b.close())
}
