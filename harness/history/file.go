package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ErrNewer means that the run file was written by a newer Interlock.
var ErrNewer = errors.New("run file from a newer version")

// Encode writes a run as JSON.
func Encode(w io.Writer, run Run) error {
	run.Format = Format
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(run); err != nil {
		return fmt.Errorf("writing run: %w", err)
	}
	return nil
}

// Decode reads a run that Encode wrote. What it cannot read is an error that says what to try.
func Decode(r io.Reader) (Run, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return Run{}, fmt.Errorf("reading run: %w", err)
	}
	var head struct {
		Format *int `json:"format"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return Run{}, fmt.Errorf("this is not a run file: %w; try the run.json that a run wrote to its --out directory", err)
	}
	switch {
	case head.Format == nil || *head.Format < 1:
		return Run{}, errors.New(`this is not a run file: it has no "format"; try the run.json that a run wrote to its --out directory`)
	case *head.Format > Format:
		return Run{}, fmt.Errorf("%w: its format is %d, and this Interlock reads up to %d; try upgrading Interlock, or make the run again",
			ErrNewer, *head.Format, Format)
	}
	var run Run
	if err := json.Unmarshal(raw, &run); err != nil {
		return Run{}, fmt.Errorf("the run file is damaged: %w; try making the run again", err)
	}
	return run, nil
}

// Load reads the run file at path; "-" is standard input.
func Load(path string) (Run, error) {
	if path == "-" {
		return Decode(os.Stdin)
	}
	f, err := os.Open(path)
	if err != nil {
		return Run{}, fmt.Errorf("run file: %w; try the run.json that a run wrote to its --out directory", err)
	}
	defer f.Close()
	run, err := Decode(f)
	if err != nil {
		return Run{}, fmt.Errorf("%s: %w", path, err)
	}
	return run, nil
}

// Save writes the run file at path.
func Save(path string, run Run) error {
	return WriteFile(path, func(w io.Writer) error { return Encode(w, run) })
}

// WriteFile has write fill a new file beside path and then puts it in the place of path, so that path is never half written. Its directory
// is created when it is missing.
func WriteFile(path string, write func(io.Writer) error) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("directory of %s: %w; try another --out", path, err)
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("writing %s: %w; try another --out", path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing %s: %w; what was there before is untouched; try another --out", path, errors.Join(err, os.Remove(f.Name())))
		}
	}()
	if err := errors.Join(write(f), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
