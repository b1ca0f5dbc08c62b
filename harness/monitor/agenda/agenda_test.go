package agenda

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/internal/clock/clocktest"
)

var morning = time.Date(2026, 11, 10, 2, 59, 30, 0, time.UTC)

// run runs an agenda until stop, or the end of the test.
func run(t testing.TB, a *Agenda) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.ErrorIs(t, <-done, context.Canceled)
		}
	}
	t.Cleanup(stop)
	return stop
}

// await waits until the status of the only job is as it must be.
func await(t testing.TB, a *Agenda, enough func(Status) bool) Status {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		s := a.Status()[0]
		if enough(s) {
			return s
		}
		require.True(t, time.Now().Before(deadline), "%+v", s)
	}
}

// move goes to a time, once the agenda waits.
func move(t testing.TB, clock *clocktest.Manual, to time.Time) {
	t.Helper()
	clock.Waiting(t, 1)
	clock.Move(to)
}

func TestRun(t *testing.T) {
	t.Parallel()
	clock := clocktest.New(morning)
	results := make(chan error)
	a, err := New(Config{Clock: clock, Jobs: []Job{{Name: "check", Spec: "0 3 * * *", Do: func(context.Context) error { return <-results }}}})
	require.NoError(t, err)
	at := func(d time.Duration) time.Time { return morning.Add(30*time.Second + d) }
	require.Equal(t, at(0), a.Status()[0].Next)
	run(t, a)

	move(t, clock, at(-time.Second))
	move(t, clock, at(0))
	s := await(t, a, func(s Status) bool { return s.Running })
	require.Equal(t, at(0), s.Started)
	require.Equal(t, at(24*time.Hour), s.Next)

	day := func(n int, late time.Duration) { // looks at the clock each minute or so; here, only then
		move(t, clock, at(time.Duration(n)*24*time.Hour+late))
	}
	day(1, 0) // it is still at work
	s = await(t, a, func(s Status) bool { return s.Skipped == 1 })
	require.Equal(t, 1, s.Runs)
	results <- nil
	s = await(t, a, func(s Status) bool { return !s.Running })
	require.Equal(t, 24*time.Hour, s.Took)
	require.Empty(t, s.Why)
	require.Equal(t, at(24*time.Hour), s.Succeeded)

	day(2, 59*time.Second) // a little late
	results <- errors.New("no luck")
	s = await(t, a, func(s Status) bool { return s.Failed == 1 && !s.Running })
	require.Equal(t, "no luck", s.Why)
	require.True(t, s.Failing)
	require.Equal(t, at(24*time.Hour), s.Succeeded)
	day(3, 2*time.Minute) // too late
	s = await(t, a, func(s Status) bool { return s.Missed == 1 })
	require.Equal(t, at(4*24*time.Hour), s.Next)
	day(8, 2*time.Hour) // slept
	s = await(t, a, func(s Status) bool { return s.Missed == 2 })
	require.Equal(t, at(9*24*time.Hour), s.Next)
	require.Equal(t, 2, s.Runs)

	day(9, 0)
	results <- fmt.Errorf("%w: somebody else does it", ErrSkipped)
	s = await(t, a, func(s Status) bool { return s.Skipped == 2 && !s.Running })
	require.Equal(t, 2, s.Runs)
	require.Equal(t, 1, s.Failed)
	require.False(t, s.Failing, "who does it tells how it went")

	day(5, 0) // the clock is put back
	s = await(t, a, func(s Status) bool { return s.Next.Equal(at(6 * 24 * time.Hour)) })
	require.Equal(t, 2, s.Runs)
}

// TestStopWaits has a job that takes its time to end.
func TestStopWaits(t *testing.T) {
	t.Parallel()
	clock := clocktest.New(morning)
	begun, ending, end, ended := make(chan struct{}), make(chan struct{}), make(chan struct{}), false
	a, err := New(Config{Clock: clock, Jobs: []Job{{Name: "check", Spec: "@every 30s", Do: func(ctx context.Context) error {
		close(begun)
		<-ctx.Done()
		close(ending)
		<-end
		ended = true
		return context.Cause(ctx)
	}}}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	move(t, clock, morning.Add(30*time.Second))
	<-begun
	cancel(errors.New("we go home"))
	<-ending
	select {
	case <-done:
		t.Fatal("it did not wait")
	default:
	}
	close(end)
	require.ErrorContains(t, <-done, "we go home")
	require.True(t, ended)
	require.Equal(t, 1, a.Status()[0].Failed)
}

// TestRealTime has no clock but the time.
func TestRealTime(t *testing.T) {
	t.Parallel()
	done := make(chan struct{}, 10)
	a, err := New(Config{Late: -1, Jobs: []Job{{Name: "check", Spec: "@every 1s", Do: func(context.Context) error { done <- struct{}{}; return nil }}}})
	require.NoError(t, err)
	stop := run(t, a)
	<-done
	stop()
	s := a.Status()[0]
	require.Positive(t, s.Runs)
	for _, at := range []time.Time{s.Next, s.Started, s.Succeeded} { // what has a reading of the monotonic clock is compared by that
		require.Equal(t, at.Round(0), at, "nobody would notice that the clock is put back")
	}
}
