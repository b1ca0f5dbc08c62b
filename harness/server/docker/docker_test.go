package docker_test

import (
	"testing"

	"github.com/interlock-pg/interlock/harness/server/docker"
	"github.com/interlock-pg/interlock/harness/server/internal/container/containertest"
)

func TestMain(m *testing.M) { containertest.Main(m, docker.Provider{}) }

func TestProvider(t *testing.T) { containertest.Run(t, docker.Provider{}) }

func TestKilled(t *testing.T) { containertest.Killed(t, docker.Provider{}) }

func BenchmarkReady(b *testing.B) { containertest.Benchmark(b, docker.Provider{}) }
