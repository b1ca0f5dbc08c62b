package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"

	"github.com/interlock-pg/interlock/harness/server"
)

const (
	mavenCentral = "https://repo1.maven.org/maven2"
	// reachWithin bounds the question whether the repository answers. The library's own requests have no bound.
	reachWithin = 10 * time.Second
)

// mavenVersions are the releases that the library knows.
var mavenVersions = map[int]embeddedpostgres.PostgresVersion{
	13: embeddedpostgres.V13, 14: embeddedpostgres.V14, 15: embeddedpostgres.V15,
	16: embeddedpostgres.V16, 17: embeddedpostgres.V17, 18: embeddedpostgres.V18,
}

// fetchMaven has the library download and unpack binaries. It does so only on the way to starting a server, so it is sent that way with an
// encoding that initdb refuses before it does anything (as it refuses root), and turns back there.
func fetchMaven(ctx context.Context, config server.Config, major int, dir string) error {
	release, ok := mavenVersions[major]
	if !ok {
		return fmt.Errorf("embedded-postgres knows no release of PostgreSQL %d", major)
	}
	repository := strings.TrimSuffix(config.RepositoryURL, "/")
	if repository == "" {
		repository = mavenCentral
	}
	if err := reach(ctx, repository); err != nil {
		return err
	}
	work := filepath.Dir(dir)
	library := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(release).
		BinaryRepositoryURL(repository).
		CachePath(filepath.Join(work, "archives")).
		RuntimePath(filepath.Join(work, "runtime")).
		DataPath(filepath.Join(work, "data")).
		BinariesPath(dir).
		Port(0). // it looks whether the port is free; this one always is
		Encoding("none-for-it-only-unpacks").
		Logger(io.Discard))
	done := make(chan error, 1)
	go func() { done <- library.Start() }() // it takes no context: when ours ends, a request of it may go on until it is answered
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-done:
		if err == nil {
			return errors.Join(errors.New("initdb took an encoding that does not exist"), library.Stop())
		}
		if _, statErr := os.Stat(filepath.Join(dir, "bin", "postgres")); statErr != nil {
			return err
		}
		return nil
	}
}

// reach asks whether anything answers at the address.
func reach(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, address+"/", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}
