package agenda

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/server/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m, func() error { return goleak.Find() }) }
