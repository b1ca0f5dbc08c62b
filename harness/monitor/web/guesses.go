package web

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Of wrong guesses from one address: so many at once, and then one as often.
const (
	guessesAtOnce = 10
	guessesEvery  = 10 * time.Second
	mostAddresses = 10_000
)

// guesses counts wrong guesses by address, each address with a bucket that fills again. Where it is empty, a form is refused whatever is in it; a right
// token in a header still lets one in, so that who guesses cannot keep out others behind the same address, and secrets are too long to be guessed. The
// zero value counts none yet; it is safe for concurrent use.
type guesses struct {
	mu sync.Mutex
	of map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

// wrong takes note of a wrong guess, and returns how long to wait where there were too many.
func (g *guesses) wrong(address string, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.filled(address, now)
	if b.left < 1 {
		return b.wait()
	}
	if g.of == nil {
		g.of = map[string]bucket{}
	}
	if _, known := g.of[address]; !known && len(g.of) >= mostAddresses {
		g.forget(now)
	}
	b.left--
	g.of[address] = b
	return 0
}

// wait returns how long an address has to wait before it may guess again.
func (g *guesses) wait(address string, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b := g.filled(address, now); b.left < 1 {
		return b.wait()
	}
	return 0
}

func (g *guesses) filled(address string, now time.Time) bucket {
	b, known := g.of[address]
	if !known {
		return bucket{guessesAtOnce, now}
	}
	b.left = min(guessesAtOnce, b.left+max(0, float64(now.Sub(b.at))/float64(guessesEvery)))
	b.at = now
	return b
}

// forget makes room: of addresses whose bucket is full again, and if they are too few, of others. It is a lot of room, as looking for it takes long.
func (g *guesses) forget(now time.Time) {
	for address := range g.of {
		if g.filled(address, now).left >= guessesAtOnce {
			delete(g.of, address)
		}
	}
	for address := range g.of {
		if len(g.of) < mostAddresses*3/4 {
			return
		}
		delete(g.of, address)
	}
}

func (b bucket) wait() time.Duration { return time.Duration((1 - b.left) * float64(guessesEvery)) }

func tooMany(wait time.Duration) *problem {
	seconds := strconv.Itoa(int(math.Ceil(wait.Seconds())))
	return refuse(http.StatusTooManyRequests, "too-many-guesses", "Too many wrong tokens", "there were too many wrong tokens from this address; try again in "+seconds+" s").
		with("Retry-After", seconds)
}
