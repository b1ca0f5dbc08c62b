package target

import (
	"io"
	"strings"
	"sync"
)

// tail keeps the end of what a process writes.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

// keptOutput is how much of it is kept, in bytes.
const keptOutput = 64 << 10

func (t *tail) copy(from io.Reader) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		t.mu.Lock()
		t.kept = append(t.kept, buffer[:n]...)
		if len(t.kept) > 2*keptOutput { // not each time
			t.kept = append(t.kept[:0], t.kept[len(t.kept)-keptOutput:]...)
		}
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// text returns what is kept.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(t.kept[max(0, len(t.kept)-keptOutput):]), "\uFFFD")
}

// shownLines is how many lines of it an error shows.
const shownLines = 20

// last returns the last lines without some secrets.
func (t *tail) last(secrets []string) string {
	text := strings.TrimSpace(t.text())
	if text == "" {
		return "it wrote nothing"
	}
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-shownLines):], "\n")
}
