package race_test

import (
	"errors"
	"testing"

	"github.com/leanovate/gopter/gen"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/race"
)

func numbers() race.Workload {
	inputs := gen.SliceOfN(5, gen.IntRange(0, 1000)).WithShrinker(gen.SliceShrinker(gen.IntShrinker))
	return race.Define("numbers", inputs, func(in []int) race.Scenario { return race.Scenario{Clients: make([]race.Client, len(in))} })
}

func TestAnInputBelongsToItsSeed(t *testing.T) {
	w := numbers()
	first, err := w.Generate(7)
	require.NoError(t, err)
	again, err := w.Generate(7)
	require.NoError(t, err)
	other, err := w.Generate(8)
	require.NoError(t, err)
	require.JSONEq(t, `[931,571,330,197,808]`, string(first.JSON()), "the same on every machine")
	require.Equal(t, first, again)
	require.NotEqual(t, first, other)
}

func TestInputsSurviveTheRunFile(t *testing.T) {
	w := numbers()
	in, err := w.Generate(1)
	require.NoError(t, err)
	back, err := w.Decode(in.JSON())
	require.NoError(t, err)
	require.Equal(t, in, back)
	_, err = w.Decode([]byte(`{"numbers": 3}`))
	require.ErrorContains(t, err, "has changed since it was recorded")
	require.ErrorContains(t, err, "try")
}

func TestShrinksAreSimplerAndEnd(t *testing.T) {
	w := numbers()
	in, err := w.Decode([]byte(`[4, 9]`))
	require.NoError(t, err)
	steps := 0
	for {
		var smaller *race.Input
		for candidate := range w.Shrinks(in) {
			require.NotEqual(t, in, candidate)
			smaller = &candidate
			break
		}
		if smaller == nil {
			break
		}
		in = *smaller
		steps++
		require.Less(t, steps, 100)
	}
	require.Positive(t, steps)
}

func TestAGeneratorThatMakesNothingIsAnError(t *testing.T) {
	w := race.Define("none", gen.Int().SuchThat(func(int) bool { return false }), func(int) race.Scenario { return race.Scenario{} })
	_, err := w.Generate(1)
	require.ErrorContains(t, err, "weaker condition")
}

func TestClientsHaveNames(t *testing.T) {
	w := race.Fixed("many", func() race.Scenario {
		clients := make([]race.Client, 28)
		clients[1].Name = "Kim"
		return race.Scenario{Clients: clients}
	})
	in, err := w.Generate(1)
	require.NoError(t, err)
	s := w.Scenario(in)
	require.Equal(t, []string{"A", "Kim", "C", "Z", "A1", "B1"},
		[]string{s.Clients[0].Name, s.Clients[1].Name, s.Clients[2].Name, s.Clients[25].Name, s.Clients[26].Name, s.Clients[27].Name})
}

func TestAnswersResolve(t *testing.T) {
	for _, c := range []struct {
		in   race.Answer
		want race.Outcome
	}{
		{race.Answer{}, race.Done},
		{race.Answer{Err: errors.New("x")}, race.Failed},
		{race.Answer{Outcome: race.Conflict, Err: errors.New("x")}, race.Conflict},
	} {
		got := c.in.Resolve()
		require.Equal(t, c.want, got.Outcome)
		require.Equal(t, 1, got.Attempts)
	}
}
