package container

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness/server"
)

const (
	repository     = "postgres"
	defaultVersion = 17
	pullWithin     = 10 * time.Minute
)

// DefaultImage returns the name of the official image of a major version; zero: the one that is pulled when the daemon has none.
func DefaultImage(version int) string {
	return fmt.Sprintf("%s:%d-alpine", repository, cmp.Or(version, defaultVersion))
}

// findImage returns the image to run, which the daemon has by then.
func findImage(ctx context.Context, provider string, engine Engine, config server.Config) (string, error) {
	image := config.Image
	if image == "" {
		names, err := engine.Images(ctx, repository)
		if err != nil {
			return "", fmt.Errorf("listing images: %w", err)
		}
		if name, ok := newest(names, config.Version); ok {
			return name, nil
		}
		image = DefaultImage(config.Version)
	} else if has, err := engine.Has(ctx, image); has || err != nil {
		return image, err
	}

	config.Logf("%s: pulling %s", provider, image)
	pulling, cancel := context.WithTimeoutCause(ctx, pullWithin, fmt.Errorf("not done after %v", pullWithin))
	defer cancel()
	if err := engine.Pull(pulling, image); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", &server.UnavailableError{
			Provider: provider, Why: "no image " + image + ", and it cannot be pulled", Err: err,
			Try: "docker pull " + image + ", or another --pg-version",
		}
	}
	return image, nil
}

var official = regexp.MustCompile(`^(?:docker\.io/)?(?:library/)?` + repository + `:([0-9]{1,3})(?:[.-].*)?$`)

// newest returns the image of the newest version among names, or of the one wanted if it is not zero; the small variant, if there is a choice.
func newest(names []string, version int) (string, bool) {
	major := func(name string) int {
		m := official.FindStringSubmatch(name)
		if m == nil {
			return 0
		}
		n, _ := strconv.Atoi(m[1]) // a few digits
		return n
	}
	var fit []string
	for _, name := range names {
		if n := major(name); n >= server.MinVersion && (version == 0 || n == version) {
			fit = append(fit, name)
		}
	}
	if len(fit) == 0 {
		return "", false
	}
	small := func(name string) int { return strings.Count(name, "-alpine") }
	return slices.MinFunc(fit, func(a, b string) int {
		return cmp.Or(cmp.Compare(major(b), major(a)), cmp.Compare(small(b), small(a)), cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	}), true
}
