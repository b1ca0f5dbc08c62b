package isolation

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Who calls it off is told so, unless all was handed over, also when the workers have come to their end by then.
func TestShareCalledOff(t *testing.T) {
	cut := 0
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		work := func(_ context.Context, jobs <-chan job[int]) error {
			for j := range jobs {
				cancel()
				j.done <- part{}
			}
			return nil
		}
		handed := 0
		err := share(ctx, slices.Values([]int{1}), []worker[int]{work}, func(int, part) error { handed++; return nil })
		if handed == 0 {
			require.ErrorIs(t, err, context.Canceled)
			cut++
		}
	}
	require.Positive(t, cut)
}
