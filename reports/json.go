package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/interlock-pg/interlock/harness/history"
)

// JSON writes the run file itself, indented. history.Decode reads it.
func JSON(w io.Writer, run history.Run) error {
	var raw, indented bytes.Buffer
	if err := history.Encode(&raw, run); err != nil {
		return err
	}
	if err := json.Indent(&indented, raw.Bytes(), "", "  "); err != nil {
		return fmt.Errorf("indenting the run: %w", err)
	}
	return write(w, indented.Bytes())
}
