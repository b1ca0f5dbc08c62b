package wire

import "encoding/binary"

// header is a message's type and length, which counts itself and not the type.
const header = 5

// largest is the length of a message beyond which a stream is not taken to be one of messages: the server's own limit.
const largest = 1 << 30

// reader cuts a stream into messages. Bodies of the types that are streamed are handed on in the pieces they come in.
type reader struct {
	partial []byte // a message that has begun
	body    int    // bytes to come of a body that is being streamed
	raw     bool   // the stream is not of messages, or no longer: all of it is handed on as it is
}

// next takes one piece off p: a whole message; a part of one that is streamed, with whole false; or, raw, anything. It returns an empty piece
// when more bytes are needed, which it then keeps. The piece is valid until the next call.
func (r *reader) next(p []byte, streamed func(kind byte) bool) (piece, rest []byte, whole bool) {
	switch {
	case r.raw:
		return p, nil, false
	case r.body > 0:
		n := min(r.body, len(p))
		r.body -= n
		return p[:n], p[n:], false
	}
	if len(r.partial) == 0 { // the usual case: nothing is copied
		if n, ok := r.length(p); ok && n <= len(p) {
			return p[:n], p[n:], true
		}
	}
	if len(r.partial) < header {
		n := min(header-len(r.partial), len(p))
		r.partial, p = append(r.partial, p[:n]...), p[n:]
	}
	n, ok := r.length(r.partial)
	switch {
	case r.raw:
		piece, r.partial = r.partial, nil
		return piece, p, false
	case !ok:
		return nil, p, false
	case n > len(r.partial) && streamed(r.partial[0]):
		r.body = n - len(r.partial)
		piece, r.partial = r.partial, r.partial[:0]
		return piece, p, false
	}
	more := min(n-len(r.partial), len(p))
	r.partial, p = append(r.partial, p[:more]...), p[more:]
	if len(r.partial) < n {
		return nil, p, false
	}
	piece, r.partial = r.partial, r.partial[:0]
	if cap(r.partial) > 1<<16 {
		r.partial = nil
	}
	return piece, p, true
}

// length returns how long the message is that p begins with.
func (r *reader) length(p []byte) (n int, ok bool) {
	if len(p) < header {
		return 0, false
	}
	length := binary.BigEndian.Uint32(p[1:])
	if length < 4 || length > largest {
		r.raw = true
		return 0, false
	}
	return int(length) + 1, true
}

// take hands over what was read of a message that will not be completed.
func (r *reader) take() []byte {
	p := r.partial
	r.partial = nil
	return p
}
