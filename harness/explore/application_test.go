package explore_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/explore"
	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/race"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

// service is a web service on a pool of connections.
type service struct {
	most   int32 // connections
	marks  bool  // it puts what the header says into comments
	handle func(ctx context.Context, pool *pgxpool.Pool, r *http.Request) error
	settle time.Duration
	delay  time.Duration
	cold   bool
	reset  func(context.Context) error

	rehearses []string      // paths
	started   *atomic.Int64 // how often; nil: nobody asks
}

func (s *service) Habits() race.Habits {
	return race.Habits{Settle: s.settle, Delay: s.delay, Cold: s.cold, Rehearsal: func() []race.Client { return s.clients(s.rehearses, s.rehearses) }}
}

func (s *service) Start(ctx context.Context, url string) (race.Instance, error) {
	if s.started != nil {
		s.started.Add(1)
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = s.most
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	i := &serving{pool: pool, reset: s.reset, ended: make(chan struct{})}
	i.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var pg *pgconn.PgError
		switch err := s.handle(r.Context(), pool, r); {
		case err == nil:
			w.WriteHeader(http.StatusCreated)
		case errors.Is(err, errTaken):
			w.WriteHeader(http.StatusConflict)
		case errors.As(err, &pg):
			http.Error(w, pg.Code, http.StatusInternalServerError)
		default:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	return i, nil
}

var errTaken = errors.New("taken")

type serving struct {
	pool  *pgxpool.Pool
	web   *httptest.Server
	reset func(context.Context) error // nil: there is nothing to do
	ended chan struct{}
	once  sync.Once
}

func (i *serving) server() *httptest.Server { return i.web }
func (i *serving) Ended() <-chan struct{}   { return i.ended }
func (i *serving) Reset(ctx context.Context) error {
	if i.reset == nil {
		return nil
	}
	return i.reset(ctx)
}

func (i *serving) Close(context.Context) error {
	i.once.Do(func() {
		i.web.Close()
		i.pool.Close()
		close(i.ended)
	})
	return nil
}

// ask asks for a path, once more if no answer came and again says so.
func ask(path, mark string, again bool) race.Operation {
	do := func(ctx context.Context, of race.Instance) (a race.Answer) {
		i := of.(interface{ server() *httptest.Server }).server()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, i.URL+path, nil)
		if err != nil {
			return race.Answer{Err: err}
		}
		r.Header.Set("mark", mark)
		answer, err := i.Client().Do(r)
		if err != nil {
			return race.Answer{Err: err}
		}
		defer answer.Body.Close()
		switch answer.StatusCode {
		case http.StatusCreated:
			return race.Answer{Outcome: race.Created}
		case http.StatusConflict:
			return race.Answer{Outcome: race.Conflict}
		}
		return race.Answer{Err: errors.New(answer.Status)}
	}
	return race.Operation{Kind: strings.TrimPrefix(path, "/"), Ask: func(ctx context.Context, of race.Instance) race.Answer {
		a := do(ctx, of)
		if again && a.Err != nil && ctx.Err() == nil {
			a = do(ctx, of)
			a.Attempts = 2
		}
		return a
	}}
}

// behind is a scenario in which each client asks the service for one path after another.
func behind(s *service, clients ...[]string) func() race.Scenario {
	s.rehearses = clients[0]
	return func() race.Scenario {
		return race.Scenario{System: s, Clients: s.clients(clients...), Invariants: []race.Invariant{one}}
	}
}

func (s *service) clients(paths ...[]string) []race.Client {
	clients := make([]race.Client, len(paths))
	for i := range paths {
		if s.marks {
			clients[i].Mark = fmt.Sprintf("client-%d", i)
		}
		for _, path := range paths[i] {
			clients[i].Operations = append(clients[i].Operations, ask(path, clients[i].Mark, false))
		}
	}
	return clients
}

// take looks, and inserts.
func take(ctx context.Context, pool *pgxpool.Pool, r *http.Request) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		comment := ""
		if mark := r.Header.Get("mark"); mark != "" {
			comment = " /*mark='" + mark + "'*/"
		}
		var n int
		if err := tx.QueryRow(ctx, `select count(*) from taken where slot = $1`+comment, r.URL.Path).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return errTaken
		}
		_, err := tx.Exec(ctx, `insert into taken values ($1, $2)`+comment, r.URL.Path, 1)
		return err
	})
}

// What an application does is led as what a client does: all orders of its own statements are run.
func TestApplication(t *testing.T) {
	found, err := explorer(t, plain).Explore(t.Context(), behind(&service{most: 4, handle: take}, []string{"/s"}, []string{"/s"}), explore.Config{})
	require.NoError(t, err)
	require.NoError(t, found.Err)
	require.True(t, found.Complete)
	require.Equal(t, 20, found.Executed, "all orders of three steps of each")
	require.Equal(t, 18, found.Broken["one"], "but for those in which one commits before the other looks")

	held, err := explorer(t, unique).Explore(t.Context(), behind(&service{most: 4, handle: take}, []string{"/s"}, []string{"/s"}), explore.Config{})
	require.NoError(t, err)
	require.NoError(t, held.Err)
	require.True(t, held.Complete)
	require.Empty(t, held.Broken)
	require.Positive(t, held.Outcomes["A created; B failed"])
}

// Where the pool has one connection, clients take turns, and there is nothing to find.
func TestApplicationWithOneConnection(t *testing.T) {
	s := &service{most: 1, handle: take, settle: 50 * time.Millisecond}
	const hang = 150 * time.Millisecond // less than the patience of the second search: who thinks does not hang
	found, err := explorer(t, plain).Explore(t.Context(), behind(s, []string{"/s"}, []string{"/s"}), explore.Config{Hang: hang})
	require.NoError(t, err)
	require.NoError(t, found.Err)
	require.True(t, found.Complete)
	require.Empty(t, found.Broken)
	require.Positive(t, found.Thought)
}

// Clients that wait for more than the database may have been only slow. What is not broken then is believed after a second, more patient search, also
// where something else is broken.
func TestBrokenBesideWhatHolds(t *testing.T) {
	s := &service{most: 1, handle: take, settle: 50 * time.Millisecond}
	asked := behind(s, []string{"/s"}, []string{"/s"})
	build := func() race.Scenario {
		scenario := asked()
		scenario.Invariants = append(scenario.Invariants, race.Invariant{Name: "none", Says: "nothing is taken", SQL: `select from taken`})
		return scenario
	}
	found, err := explorer(t, plain).Explore(t.Context(), build, explore.Config{})
	require.NoError(t, err)
	require.NoError(t, found.Err)
	require.True(t, found.Complete)
	require.Equal(t, found.Executed, found.Broken["none"])
	require.Zero(t, found.Broken["one"])
	require.Equal(t, history.Duration(4*s.settle), found.Settle)
}

// Requests that wait for each other in the application, or are never answered, end the search.
func TestNeverAnswered(t *testing.T) {
	two := func(ctx context.Context, pool *pgxpool.Pool, r *http.Request) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `select 1 from taken`); err != nil {
				return err
			}
			for began := time.Now(); pool.Stat().AcquiredConns() < 2 && time.Since(began) < 100*time.Millisecond; {
				time.Sleep(time.Millisecond) // whoever is alone goes on
			}
			_, err := pool.Exec(ctx, `insert into taken values ('s', 1)`)
			return err
		})
	}
	found, err := explorer(t, plain).Explore(t.Context(), behind(&service{most: 2, handle: two}, []string{"/s"}, []string{"/s"}), explore.Config{Hang: 300 * time.Millisecond})
	require.NoError(t, err)
	require.ErrorContains(t, found.Err, "not answered within 300ms")
	require.ErrorContains(t, found.Err, "Try a larger pool")

	never := func(ctx context.Context) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	for says, s := range map[string]*service{
		"rehearsing client A: s: not answered within 300ms": {most: 2, handle: func(ctx context.Context, _ *pgxpool.Pool, _ *http.Request) error { return never(ctx) }},
		"not answered within 300ms":                         {most: 2, handle: take, reset: never},
	} {
		found, err = explorer(t, plain).Explore(t.Context(), behind(s, []string{"/s"}), explore.Config{Hang: 300 * time.Millisecond})
		require.NoError(t, err)
		require.ErrorContains(t, found.Err, says)
		require.False(t, found.Complete)
	}
}

// Where runs begin with a fresh process, each does.
func TestCold(t *testing.T) {
	s := &service{most: 2, handle: take, cold: true, started: new(atomic.Int64)}
	found, err := explorer(t, unique).Explore(t.Context(), behind(s, []string{"/s"}, []string{"/s"}), explore.Config{Limit: 4})
	require.NoError(t, err)
	require.NoError(t, found.Err)
	require.GreaterOrEqual(t, s.started.Load(), int64(found.Executed))
}

// A level that the server has by default counts as one that is asked for: the reduction must know of it.
func TestDefaultIsolation(t *testing.T) {
	for _, level := range []pgx.TxIsoLevel{pgx.RepeatableRead, pgx.Serializable} {
		e := ownExplorer(t, plain, map[string]string{"default_transaction_isolation": string(level)})
		search := func(level pgx.TxIsoLevel) explore.Result {
			found, err := e.Explore(t.Context(), func() race.Scenario {
				return race.Scenario{
					Clients: []race.Client{
						transaction(level, `select 1`, `select count(*) from taken`, `insert into taken values ('s', 1)`),
						transaction(level, `insert into taken values ('s', 2)`, `select count(*) from taken`),
					},
					Invariants: []race.Invariant{one},
				}
			}, explore.Config{})
			require.NoError(t, err)
			require.NoError(t, found.Err)
			require.True(t, found.Complete)
			return found
		}
		asked, byDefault, lower := search(level), search(""), search(pgx.ReadCommitted)
		require.Equal(t, asked.Executed, byDefault.Executed)
		require.Equal(t, asked.Outcomes, byDefault.Outcomes)
		require.Equal(t, asked.Broken, byDefault.Broken)
		require.NotEqual(t, lower.Executed, byDefault.Executed, "or nothing has been shown")
	}
}

// transaction returns a client that executes statements in one transaction; of the level that is the server's default, if none is given.
func transaction(level pgx.TxIsoLevel, sql ...string) race.Client {
	return race.Client{Operations: []race.Operation{{Kind: "transaction", Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
		return race.Answer{Err: pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: level}, func(tx pgx.Tx) error {
			for _, s := range sql {
				if _, err := tx.Exec(ctx, s); err != nil {
					return err
				}
			}
			return nil
		})}
	}}}}
}

// A client that tries again when the answer to its COMMIT is lost does so twice.
func TestFaults(t *testing.T) {
	insert := func(ctx context.Context, pool *pgxpool.Pool, r *http.Request) error {
		_, err := pool.Exec(ctx, `insert into taken values ($1, 1)`, r.URL.Path)
		return err
	}
	asked := behind(&service{most: 2, handle: insert}, []string{"/s"})
	build := func() race.Scenario {
		s := asked()
		s.Clients[0].Operations = []race.Operation{ask("/s", "", true)}
		return s
	}
	e := explorer(t, plain)
	found, err := e.Explore(t.Context(), build, explore.Config{})
	require.NoError(t, err)
	require.NoError(t, found.Err)
	require.Empty(t, found.Broken)
	found, err = e.Explore(t.Context(), build, explore.Config{Faults: []history.Fault{history.LostAck, history.Disconnect, history.Terminate}})
	require.NoError(t, err)
	require.NoError(t, found.Err)
	require.Equal(t, 3, found.Broken["one"], "a COMMIT of which the answer is lost comes before, amid or after the second try; other faults do no harm")
}

// Two requests of each client, one after the other, on whatever connections the pool gives.
func TestApplicationInSequence(t *testing.T) {
	servertest.Slow(t)
	for _, marks := range []bool{false, true} {
		s := &service{most: 3, handle: take, marks: marks}
		found, err := explorer(t, unique).Explore(t.Context(), behind(s, []string{"/s", "/t"}, []string{"/s", "/t"}), explore.Config{Preemptions: 2})
		require.NoError(t, err)
		require.NoError(t, found.Err)
		require.Equal(t, 2, found.Preemptions)
		require.Empty(t, found.Broken)
		require.Zero(t, found.Thought)
		require.Positive(t, found.Outcomes["A created, failed; B failed, created"], "%v", found.Outcomes)
	}
}

// both makes two queries at the same time.
func both(ctx context.Context, pool *pgxpool.Pool, r *http.Request) error {
	query := func(slot string) error {
		_, err := pool.Exec(ctx, `insert into taken values ('`+slot+`', 1) /*`+r.Header.Get("mark")+`*/`)
		return err
	}
	second := make(chan error)
	go func() { second <- query(r.URL.Path + "2") }()
	return errors.Join(query(r.URL.Path+"1"), <-second)
}

// Queries that an application makes at the same time for one client are strands of that.
func TestStrands(t *testing.T) {
	s := &service{most: 4, handle: both, marks: true, settle: 10 * time.Millisecond}
	e := explorer(t, plain)
	alone, err := e.Explore(t.Context(), behind(s, []string{"/a"}), explore.Config{})
	require.NoError(t, err)
	require.NoError(t, alone.Err)
	require.True(t, alone.Complete)
	require.Equal(t, 6, alone.Executed, "two steps of each")
	if !servertest.Thorough() {
		return
	}
	two, err := e.Explore(t.Context(), behind(s, []string{"/a"}, []string{"/b"}), explore.Config{Limit: 100})
	require.NoError(t, err)
	require.NoError(t, two.Err)
	require.Equal(t, 100, two.Executed)
}

// A mark may be in what the session is called, for as long as it is called so.
func TestMarkedByName(t *testing.T) {
	named := func(ctx context.Context, pool *pgxpool.Pool, r *http.Request) error {
		query := func(slot string) error {
			conn, err := pool.Acquire(ctx)
			if err != nil {
				return err
			}
			defer conn.Release()
			for _, sql := range []string{`set application_name = '` + r.Header.Get("mark") + `'`, `select count(*) from taken`, `insert into taken values ('` + slot + `', 1)`} {
				if _, err := conn.Exec(ctx, sql); err != nil {
					return err
				}
			}
			return nil
		}
		second := make(chan error)
		go func() { second <- query(r.URL.Path + "2") }()
		return errors.Join(query(r.URL.Path+"1"), <-second)
	}
	s := &service{most: 4, handle: named, marks: true, settle: 20 * time.Millisecond}
	found, err := explorer(t, plain).Explore(t.Context(), behind(s, []string{"/a"}, []string{"/b"}), explore.Config{Limit: 20})
	require.NoError(t, err)
	require.NoError(t, found.Err)
	require.Equal(t, 20, found.Executed)
}

// Without a mark, whose a step is may be open. That is said, and not guessed.
func TestCannotTell(t *testing.T) {
	s := &service{most: 4, handle: both, settle: 20 * time.Millisecond}
	found, err := explorer(t, plain).Explore(t.Context(), behind(s, []string{"/a"}, []string{"/b"}), explore.Config{})
	require.NoError(t, err)
	require.ErrorContains(t, found.Err, "it cannot be told whose statement this is, of A and B: insert into taken")
	require.ErrorContains(t, found.Err, "traceparent")
	require.False(t, found.Complete)
}

// A request that is answered while its transaction is open is a mistake of the application, and said to be one.
func TestTransactionLeftOpen(t *testing.T) {
	servertest.Slow(t)
	leak := func(_ context.Context, pool *pgxpool.Pool, _ *http.Request) error {
		ctx := context.Background()
		conn, err := pool.Acquire(ctx)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, `begin; insert into taken values ('s', 1)`)
		time.AfterFunc(time.Second, conn.Release)
		return err
	}
	found, err := explorer(t, plain).Explore(t.Context(), behind(&service{most: 4, handle: leak}, []string{"/a"}), explore.Config{Hang: 300 * time.Millisecond})
	require.NoError(t, err)
	require.ErrorContains(t, found.Err, "still in a transaction")
}

// What is no client's passes, or waits until the clients are done.
func TestBackground(t *testing.T) {
	cases := []struct{ freeze, whole bool }{{true, false}, {false, true}}
	if servertest.Thorough() {
		cases = append(cases, struct{ freeze, whole bool }{false, false}, struct{ freeze, whole bool }{true, true})
	}
	for _, c := range cases {
		freeze := c.freeze
		s := &polling{service: &service{most: 4, handle: take}, freeze: freeze, whole: c.whole}
		asked := behind(s.service, []string{"/s"}, []string{"/s"})
		build := func() race.Scenario {
			scenario := asked()
			scenario.System = s
			return scenario
		}
		found, err := explorer(t, plain).Explore(t.Context(), build, explore.Config{})
		require.NoError(t, err)
		require.NoError(t, found.Err)
		require.True(t, found.Complete)
		require.Equal(t, 18, found.Broken["one"])
		seen, other := found.Background, found.Frozen
		if freeze {
			seen, other = other, seen
		}
		require.Positive(t, seen["update jobs set done = true where id = ?"], "%v", seen)
		if c.whole && !freeze {
			require.Positive(t, found.Background["select ?"], "%v", found.Background)
		}
		if !freeze {
			require.Empty(t, other)
		}
	}
}

// While statements of the background come all the time, a client that the application does not answer is noticed.
func TestBackgroundWhileNobodyAnswers(t *testing.T) {
	asked := atomic.Int64{}
	once := func(ctx context.Context, pool *pgxpool.Pool, r *http.Request) error {
		if asked.Add(1) > 1 {
			<-ctx.Done()
		}
		return take(ctx, pool, r)
	}
	s := &polling{service: &service{most: 4, handle: once, cold: true, settle: 20 * time.Millisecond}}
	build := func() race.Scenario {
		scenario := behind(s.service, []string{"/s"})()
		scenario.System = s
		return scenario
	}
	found, err := explorer(t, plain).Explore(t.Context(), build, explore.Config{Hang: 300 * time.Millisecond})
	require.NoError(t, err)
	require.ErrorContains(t, found.Err, "nothing happened for 300ms")
}

// polling is a service that looks for jobs all the while.
type polling struct {
	*service
	freeze bool
	whole  bool // each time in a transaction
}

func (s *polling) Habits() race.Habits {
	h := s.service.Habits()
	h.Background = []race.Background{{SQL: regexp.MustCompile(`\bjobs\b`), Freeze: s.freeze}}
	return h
}

func (s *polling) Start(ctx context.Context, url string) (race.Instance, error) {
	started, err := s.service.Start(ctx, url)
	if err != nil {
		return nil, err
	}
	i := &pollingInstance{serving: started.(*serving), stop: make(chan struct{})}
	if _, err := i.pool.Exec(ctx, `create table if not exists jobs (id int, done bool)`); err != nil {
		return nil, errors.Join(err, i.Close(ctx))
	}
	i.poller.Go(func() {
		for {
			select {
			case <-i.stop:
				return
			case <-time.After(time.Millisecond):
				poll := func(db interface {
					Exec(context.Context, string, ...any) (pgconn.CommandTag, error)
				},
				) error {
					_, err := db.Exec(context.Background(), `update jobs set done = true where id = 1`)
					return err
				}
				if !s.whole {
					_ = poll(i.pool)
					continue
				}
				_ = pgx.BeginFunc(context.Background(), i.pool, func(tx pgx.Tx) error {
					if err := poll(tx); err != nil {
						return err
					}
					_, err := tx.Exec(context.Background(), `select 1`)
					return err
				})
			}
		}
	})
	return i, nil
}

type pollingInstance struct {
	*serving
	stop   chan struct{}
	stops  sync.Once
	poller sync.WaitGroup
}

func (i *pollingInstance) Close(ctx context.Context) error {
	i.stops.Do(func() { close(i.stop) })
	i.poller.Wait()
	return i.serving.Close(ctx)
}

// An application that ends in the middle of a run is told of, with its own words; what was found until then is kept.
func TestApplicationEnds(t *testing.T) {
	servertest.Slow(t)
	s := &dying{service: &service{most: 4, handle: take}, after: 40}
	asked := behind(s.service, []string{"/s"}, []string{"/s"})
	build := func() race.Scenario {
		scenario := asked()
		scenario.System = s
		return scenario
	}
	found, err := explorer(t, plain).Explore(t.Context(), build, explore.Config{Workers: 1})
	require.NoError(t, err)
	require.ErrorContains(t, found.Err, "the application ended: out of requests")
	require.False(t, found.Complete)
	require.Positive(t, found.Executed)
}

// dying is a service that ends with a request.
type dying struct {
	*service
	after int64
	asked atomic.Int64
}

func (s *dying) Start(ctx context.Context, url string) (race.Instance, error) {
	var i *dyingInstance
	mortal := *s.service
	mortal.handle = func(ctx context.Context, pool *pgxpool.Pool, r *http.Request) error {
		if s.asked.Add(1) == s.after {
			close(i.ended)
			<-r.Context().Done()
		}
		return s.handle(ctx, pool, r)
	}
	started, err := mortal.Start(ctx, url)
	if err != nil {
		return nil, err
	}
	i = &dyingInstance{serving: started.(*serving), ended: make(chan struct{})}
	return i, nil
}

type dyingInstance struct {
	*serving
	ended chan struct{}
}

func (i *dyingInstance) Ended() <-chan struct{} { return i.ended }

func (i *dyingInstance) Close(ctx context.Context) error {
	i.web.CloseClientConnections()
	err := i.serving.Close(ctx)
	select {
	case <-i.ended:
		return errors.Join(err, errors.New("the application ended: out of requests"))
	default:
		close(i.ended)
		return err
	}
}
