package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/interlock-pg/interlock/harness/internal/filelock"
)

// document is a state file.
type document struct {
	Format  int             `json:"format"`
	Seq     int64           `json:"seq"` // the highest that was given
	Watches map[string]Book `json:"watches"`
}

// File is an outbox in a file, for one process: the file is replaced as a whole, and a lock beside it keeps others out (on Unix).
type File struct {
	path   string
	unlock func()

	mu     sync.Mutex
	doc    document
	leases map[string]string // claim by destination: of this process, so they end with it
}

// lockFor is how long another process may take to end.
const lockFor = 2 * time.Second

// OpenFile opens the outbox in a file, which need not be there yet.
func OpenFile(ctx context.Context, path string) (_ *File, err error) {
	f := &File{path: path, leases: map[string]string{}}
	waiting, stop := context.WithTimeout(ctx, lockFor)
	defer stop()
	if f.unlock, err = filelock.Lock(waiting, path+".lock"); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("opening the state file %s: another process has it; try another file for this one", path)
		}
		return nil, fmt.Errorf("opening the state file %s: %w; try a path that can be written", path, err)
	}
	defer func() {
		if err != nil {
			f.unlock()
		}
	}()
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.doc = document{Format: Format, Watches: map[string]Book{}}
		if err = f.save(f.doc); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, fmt.Errorf("opening the state file %s: %w; try a path that can be read", path, err)
	default:
		if f.doc, err = readDocument(text); err != nil {
			return nil, fmt.Errorf("reading the state file %s: %w; move it away to begin anew: what lasts is then told again", path, err)
		}
	}
	return f, nil
}

// readDocument reads a state file.
func readDocument(text []byte) (document, error) {
	var doc document
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&doc); err != nil {
		return document{}, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return document{}, errors.New("something follows the state")
	}
	switch {
	case doc.Format > Format:
		return document{}, fmt.Errorf("it has format %d, and this Interlock knows %d", doc.Format, Format)
	case doc.Format < 1:
		return document{}, errors.New("it has no format")
	}
	if doc.Watches == nil {
		doc.Watches = map[string]Book{}
	}
	seen := map[int64]bool{}
	for name, book := range doc.Watches {
		for _, m := range book.Queue {
			if m.Seq < 1 || m.Seq > doc.Seq || seen[m.Seq] || m.Watch != name || m.Destination == "" || m.Event.ID == "" {
				return document{}, fmt.Errorf("a message of watch %q does not fit", name)
			}
			if facts := slices.IndexFunc(m.Event.Groups, func(g Group) bool { return g.Facts != nil && !json.Valid(g.Facts) }); facts >= 0 {
				return document{}, fmt.Errorf("a message of watch %q has facts that are no JSON", name)
			}
			seen[m.Seq] = true
		}
	}
	return doc, nil
}

// save replaces the file. It is there whole, before or after, whatever happens meanwhile.
func (f *File) save(doc document) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing the state file %s: %w; try a directory that can be written and has space", f.path, err)
		}
	}()
	text, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		return err
	}
	next := f.path + ".next" // nobody else writes it: we have the lock
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(text, '\n'))
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, f.path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(f.path))
	if err != nil {
		return err
	}
	err = dir.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrInvalid) {
		err = nil // a file system on which directories cannot be synced
	}
	return errors.Join(err, dir.Close())
}

// write changes the document in the file, and then here.
func (f *File) write(ctx context.Context, change func(*document)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	next := document{f.doc.Format, f.doc.Seq, maps.Clone(f.doc.Watches)}
	change(&next)
	if err := f.save(next); err != nil {
		return err
	}
	f.doc = next
	return nil
}

// Read implements [Outbox].
func (f *File) Read(_ context.Context, watch string) (State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.doc.Watches[watch].State, nil
}

// Update implements [Outbox].
func (f *File) Update(ctx context.Context, watch string, change func(*Book)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.write(ctx, func(doc *document) {
		book := doc.Watches[watch]
		book.Queue = slices.Clone(book.Queue)
		change(&book)
		for i := range book.Queue {
			if book.Queue[i].Seq == 0 {
				doc.Seq++
				book.Queue[i].Seq = doc.Seq
			}
		}
		doc.Watches[watch] = book
	})
}

// Claim implements [Outbox].
func (f *File) Claim(ctx context.Context, destination string, now time.Time, _ time.Duration) (c Claim, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var head *Message
	for _, book := range f.doc.Watches {
		for _, m := range book.Queue {
			switch {
			case m.Destination != destination:
			case m.Dead:
				c.Dead++
			default:
				c.Queued++
				if head == nil || m.Seq < head.Seq {
					head = &m
				}
			}
		}
	}
	switch {
	case head == nil:
		return c, nil
	case f.leases[destination] != "":
		c.Taken = true
		return c, nil
	case !head.due(now):
		c.Due = head.Due
		return c, nil
	}
	head.begin()
	if err := f.replace(ctx, *head, true); err != nil {
		return Claim{}, err
	}
	f.leases[destination], c.Message = head.Claim, head
	return c, nil
}

// replace writes another version of a message, or drops it.
func (f *File) replace(ctx context.Context, m Message, keep bool) error {
	return f.write(ctx, func(doc *document) {
		book := doc.Watches[m.Watch]
		book.Queue = slices.DeleteFunc(slices.Clone(book.Queue), func(other Message) bool { return !keep && other.Seq == m.Seq })
		for i := range book.Queue {
			if book.Queue[i].Seq == m.Seq {
				book.Queue[i] = m
			}
		}
		doc.Watches[m.Watch] = book
	})
}

// Finish implements [Outbox].
func (f *File) Finish(ctx context.Context, m Message, o Outcome) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, now := range f.doc.Watches[m.Watch].Queue {
		if now.Destination == m.Destination && now.Event.ID == m.Event.ID {
			left, keep := now.finish(m.Claim, o)
			if err := f.replace(ctx, left, keep); err != nil {
				return err
			}
			break
		}
	}
	if f.leases[m.Destination] == m.Claim {
		delete(f.leases, m.Destination)
	}
	return nil
}

// Watches implements [Outbox].
func (f *File) Watches(context.Context) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.doc.Watches)), nil
}

func (f *File) String() string { return "file " + f.path }

// Close implements [Outbox].
func (f *File) Close() error {
	f.unlock()
	return nil
}
