package reports

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/interlock-pg/interlock/harness/history"
)

var (
	commandData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", nbsp, " ")
	commandProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", nbsp, " ", ":", "%3A", ",", "%2C")
)

// Annotations writes GitHub workflow commands: an error for each thing that is not as it must be, a warning for each that is unknown, nothing
// for a run that is as expected; of migrations, what somebody should know as well, at its place in the file. GitHub reads them from the job's output and shows the first ten of each kind.
func Annotations(w io.Writer, run history.Run) error {
	var b bytes.Buffer
	if run.Gate != nil {
		annotateGate(&b, *run.Gate)
	}
	for _, it := range tell(run).items {
		if it.tone < open || it.notes == nil {
			continue
		}
		level := "warning"
		if it.tone == bad {
			level = "error"
		}
		lines := it.notes
		for _, p := range it.proofs {
			if p.again != "" {
				lines = append(lines[:len(lines):len(lines)], "Again: "+p.again)
			}
		}
		fmt.Fprintf(&b, "::%s title=%s::%s\n", level, commandProperty.Replace("interlock "+it.name), commandData.Replace(strings.Join(lines, "\n")))
	}
	return write(w, b.Bytes())
}
