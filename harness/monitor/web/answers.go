package web

import (
	linked "container/list"
	"fmt"
	"strconv"
	"sync"

	"github.com/interlock-pg/interlock/harness/monitor"
)

// answers keeps pages that were written already. A page depends on nothing but the version of its result and what was asked for, so it is written once, by
// the first of those who ask for it at the same time, and its tag names both. Versions begin again when the monitor does, so boot is in the tag too.
type answers struct {
	boot string
	most int // bytes of all pages; those that nobody has asked for the longest make room

	mu    sync.Mutex
	pages map[pageKey]*linked.Element // of *written
	used  linked.List                 // the latest first
	size  int                         // bytes
}

type pageKey struct {
	watch   string
	version uint64
	slice   slice
}

// written is a page, or one that somebody is writing.
type written struct {
	key  pageKey
	page func() (*encoded, error) // waits until it is written
	size int                      // bytes; 0: not yet written
}

type encoded struct {
	body         []byte
	etag, length []string
}

// pageFrame is about as many bytes as a page takes beside its body.
const pageFrame = 512

// page returns a page of a result.
func (a *answers) page(r monitor.Result, s slice, clean func(string) string) (*encoded, error) {
	key := pageKey{r.Watch.Name, r.Version, s}
	a.mu.Lock()
	at := a.pages[key]
	if at == nil {
		at = a.begin(key, r, clean)
	}
	a.used.MoveToFront(at)
	page := at.Value.(*written).page
	a.mu.Unlock()
	return page()
}

// begin makes room for a page in the list, for the first who asks for it to write it. The caller holds mu.
func (a *answers) begin(key pageKey, r monitor.Result, clean func(string) string) *linked.Element {
	w := &written{key: key}
	w.page = sync.OnceValues(func() (page *encoded, err error) {
		defer func() { a.wrote(w, page) }() // where it panics, too
		body, err := encodeGroups(r, key.slice, clean(r.Why))
		if err != nil {
			return nil, fmt.Errorf("writing the groups of %s: %w", r.Watch.Name, err)
		}
		tag := fmt.Sprintf("%s-%d-%d-%d", a.boot, r.Version, key.slice.limit, key.slice.offset)
		if key.slice.any {
			tag += "-" + strconv.FormatInt(key.slice.since, 36)
		}
		return &encoded{body: body, etag: []string{`"` + tag + `"`}, length: []string{strconv.Itoa(len(body))}}, nil
	})
	if a.pages == nil {
		a.pages = map[pageKey]*linked.Element{}
	}
	a.pages[key] = a.used.PushFront(w)
	return a.pages[key]
}

// wrote counts a page that was written, and makes room for it. Nil: it was not to be written, and is not kept.
func (a *answers) wrote(w *written, page *encoded) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.pages[w.key]
	switch {
	case at == nil || at.Value != w: // it had to make room
		return
	case page == nil:
		a.drop(at)
		return
	}
	w.size = pageFrame + len(page.body)
	a.size += w.size
	for a.size > a.most {
		a.drop(a.used.Back())
	}
}

func (a *answers) drop(at *linked.Element) {
	w := a.used.Remove(at).(*written)
	delete(a.pages, w.key)
	a.size -= w.size
}
