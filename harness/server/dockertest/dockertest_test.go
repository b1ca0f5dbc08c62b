package dockertest_test

import (
	"testing"

	"github.com/interlock-pg/interlock/harness/server/dockertest"
	"github.com/interlock-pg/interlock/harness/server/internal/container/containertest"
)

func TestMain(m *testing.M) { containertest.Main(m, dockertest.Provider{}) }

func TestProvider(t *testing.T) { containertest.Run(t, dockertest.Provider{}) }

func TestKilled(t *testing.T) { containertest.Killed(t, dockertest.Provider{}) }

func BenchmarkReady(b *testing.B) { containertest.Benchmark(b, dockertest.Provider{}) }
