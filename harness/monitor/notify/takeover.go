package notify

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// takeOver takes what there is in tables that cannot be written. It stays there, so it is noted what was taken.
func (f *File) takeOver(ctx context.Context, t *Table) error {
	states, queue, err := t.contents(ctx)
	if err != nil {
		return err
	}
	return f.adopt(ctx, states, queue)
}

// adopt takes what was told, and what waits.
func (f *File) adopt(ctx context.Context, states map[string]State, queue []Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.write(ctx, func(doc *document) {
		for watch, state := range states {
			book := doc.Watches[watch]
			if state.Seen.After(book.State.Seen) {
				book.State = state
			}
			doc.Watches[watch] = book
		}
		for _, m := range queue {
			book := doc.Watches[m.Watch]
			if slices.Contains(book.Taken, m.Event.ID) {
				continue // we were stopped after that
			}
			doc.Seq++
			m.Seq, m.Doubt, m.Claim = doc.Seq, !m.fresh(), ""
			book.Queue, book.Taken = append(slices.Clip(book.Queue), m), append(slices.Clip(book.Taken), m.Event.ID)
			doc.Watches[m.Watch] = book
		}
		for watch, book := range doc.Watches {
			book.Queue = upToDate(book.Queue)
			doc.Watches[watch] = book
		}
	})
}

// takeOver moves to the tables what is in a file.
func (t *Table) takeOver(ctx context.Context, file *File) error {
	for _, watch := range slices.Sorted(maps.Keys(file.doc.Watches)) {
		book := file.doc.Watches[watch]
		var claims []string
		err := t.Update(ctx, watch, func(b *Book) { claims = b.takeBack(book) })
		if err == nil && len(claims) > 0 {
			err = t.release(ctx, claims)
		}
		if err == nil && len(book.Queue)+len(book.Taken) > 0 {
			err = file.Update(ctx, watch, func(b *Book) { b.Queue, b.Taken = nil, nil })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// release ends leases.
func (t *Table) release(ctx context.Context, claims []string) error {
	return t.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update interlock.notify_destination set claim = null, leased_until = null where claim = any ($1)`, claims)
		return err
	})
}

// takeBack adds the book of a file. What that took from here, and does not have any more, was told. It returns the claims of what was taken while somebody
// sent it: their end was written to a file.
func (b *Book) takeBack(from Book) (claims []string) {
	if from.State.Seen.After(b.State.Seen) {
		b.State = from.State
	}
	at := func(queue []Message, id string) int {
		return slices.IndexFunc(queue, func(m Message) bool { return m.Event.ID == id })
	}
	b.Queue = slices.DeleteFunc(b.Queue, func(m Message) bool {
		taken := slices.Contains(from.Taken, m.Event.ID)
		if taken && m.Claim != "" {
			claims = append(claims, m.Claim)
		}
		return taken && at(from.Queue, m.Event.ID) < 0
	})
	for _, m := range from.Queue {
		m.Seq, m.Doubt, m.Claim = 0, !m.fresh(), ""
		if i := at(b.Queue, m.Event.ID); i >= 0 {
			m.Seq, m.Doubt = b.Queue[i].Seq, m.Doubt || !b.Queue[i].fresh()
			b.Queue[i] = m
		} else {
			b.Queue = append(b.Queue, m)
		}
	}
	b.Queue = upToDate(b.Queue)
	return claims
}
