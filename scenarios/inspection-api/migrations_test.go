package inspectionapi_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The service's migrations are Interlock's, with its own table between them: whoever changes one changes the other.
func TestMigrationsAreInterlocks(t *testing.T) {
	for own, of := range map[string]string{
		"00001_base_schema.sql":            "00001_base_schema.sql",
		"00003_partial_unique_indexes.sql": "00002_partial_unique_indexes.sql",
		"00004_schedule_window.sql":        "00003_schedule_window.sql",
	} {
		copied, err := os.ReadFile(filepath.Join("migrations", own))
		require.NoError(t, err)
		original, err := os.ReadFile(filepath.Join("..", "..", "migrations", "sql", of))
		require.NoError(t, err)
		require.Equal(t, string(original), string(copied), "try: cp migrations/sql/%s scenarios/inspection-api/migrations/%s", of, own)
	}
}
