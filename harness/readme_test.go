package harness_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the README shows is the body of the Example, which is compiled and run.
func TestTheREADMEShowsTheExample(t *testing.T) {
	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	body := regexp.MustCompile(`(?s)\nfunc Example\(\) \{\n(.*?)\n\t// Output`).FindSubmatch(source)
	require.NotNil(t, body)
	shown := regexp.MustCompile(`(?m)^\t`).ReplaceAllString(string(body[1]), "")
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	require.Contains(t, string(readme), shown)
}
