package race

import (
	"context"
	"regexp"
	"time"
)

// System is an application between the clients and Postgres, such as a web service: what clients ask it for is in [Operation].Ask. A driver keeps
// what it has started from one scenario to the next as long as System is the same value, so it has to be comparable.
type System interface {
	// Start starts the application on the database that a postgres:// URL names, password included, and returns when it takes requests. On an
	// error, nothing of it is left.
	Start(ctx context.Context, url string) (Instance, error)

	// Habits returns what a driver has to know of it.
	Habits() Habits
}

// Instance is a [System] that has been started. Its methods are safe for concurrent use.
type Instance interface {
	// Reset makes it forget what it has learned from the database, such as caches. It is called before each round, when the starting rows are in
	// place and no client asks for anything.
	Reset(ctx context.Context) error

	// Ended is closed when the application has ended by itself; Close tells why.
	Ended() <-chan struct{}

	// Close ends it, and leaves nothing behind. Further calls do nothing and return what the first returned. The error tells how it ended, if that
	// was before it was told to.
	Close(ctx context.Context) error
}

// Habits are what a driver has to know of an application to lead it step by step. The zero value is a good default.
type Habits struct {
	// Listen is where the application has been told that Postgres is, as host:port, since it runs already. Empty: it is started, and told.
	Listen string

	// Settle is how long it may neither ask the database for anything nor answer before other clients go on without the one that it is busy for; 0:
	// half a second.
	Settle time.Duration

	// Delay is how long a step is on its way that meets the fault of that name: longer than what the application gives up after, for that to be seen; 0:
	// a second.
	Delay time.Duration

	// Rehearsal returns clients that ask for what the application will be asked for, made anew by each call: from them it is learned whether it makes
	// queries at the same time, and pools and caches are filled. Nil: there are none, and it is taken not to.
	Rehearsal func() []Client

	// Cold: rounds begin with empty pools and caches, so one that is started is started anew for each, see [Habits.Anew]. Otherwise, the rehearsal is made
	// before the first.
	Cold bool

	// Background is what becomes of statements that are no client's. The first that matches counts; then pings and reads of the system's catalog
	// outside a transaction, which pass.
	Background []Background
}

// Anew reports whether the application is ended and started for each round: it is to be cold, and it is ours to start.
func (h Habits) Anew() bool { return h.Cold && h.Listen == "" }

// Background is a rule for statements that are no client's.
type Background struct {
	SQL         *regexp.Regexp // matches the statement; nil: any
	Application *regexp.Regexp // matches the application_name of its session; nil: any
	Freeze      bool           // it waits until all clients are done; false: it passes
}
