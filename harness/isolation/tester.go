package isolation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/server"
)

// Config says on what to run specs, and how.
type Config struct {
	// Servers are where specs run; at least one. With several of them, several specs run at the same time, and so do the permutations of one for
	// which the databases of one server would not be separate enough.
	Servers []*server.Server

	// Workers is how many permutations run at the same time, each on a database of its own, where that cannot change a transcript. Zero:
	// DefaultWorkers.
	Workers int

	// StepLimit is how long a step may take before it is cancelled; after twice that time, its spec ends. Zero: 300 seconds.
	StepLimit time.Duration
}

// DefaultWorkers is twice as many as there are cores: between the steps of a permutation, there is always something to wait for.
func DefaultWorkers() int { return 2 * runtime.GOMAXPROCS(0) }

// Tester runs specs.
type Tester struct {
	config Config
	places []place // one for each server
}

// place is a server, and the empty database there of which the others are copies.
type place struct {
	server *server.Server
	empty  *server.Template
}

// Named is a spec with its name, which is that of its file without .spec. Sessions have it in their application_name: isolation/NAME/SESSION.
type Named struct {
	Name string
	*Spec
}

// Open makes the databases that those of the specs are copies of. [Tester.Close] drops them.
func Open(ctx context.Context, config Config) (_ *Tester, err error) {
	if config.Workers <= 0 {
		config.Workers = DefaultWorkers()
	}
	if config.StepLimit <= 0 {
		config.StepLimit = 300 * time.Second
	}
	t := &Tester{config: config}
	for _, srv := range config.Servers {
		empty, err := srv.Template(ctx, func(context.Context, *pgx.ConnConfig) error { return nil })
		if err != nil {
			return nil, errors.Join(err, t.Close(context.WithoutCancel(ctx)))
		}
		t.places = append(t.places, place{srv, empty})
	}
	return t, nil
}

// Close drops what Open made.
func (t *Tester) Close(ctx context.Context) error {
	var errs []error
	for _, p := range t.places {
		errs = append(errs, p.empty.Drop(ctx))
	}
	return errors.Join(errs...)
}

// Run runs the permutations of a spec in a fresh database, and writes what isolationtester would, its standard error among its standard output. The
// error is [ErrEnded] if isolationtester would have ended early.
func (t *Tester) Run(ctx context.Context, spec Named, w io.Writer) error {
	if err := spec.check(); err != nil {
		return fmt.Errorf("spec %s: %w", spec.Name, err)
	}
	if _, err := io.WriteString(w, spec.heading()); err != nil {
		return err
	}
	may := spec.shortcuts()
	crews := 1
	if may.separable {
		crews = min(t.config.Workers, spec.worth())
	}
	if may.serializable {
		crews = min(crews, len(t.places))
	}
	var workers []worker[Permutation]
	for i := range crews {
		workers = append(workers, func(ctx context.Context, jobs <-chan job[Permutation]) (err error) {
			c, err := t.enlist(ctx, t.places[i%len(t.places)], spec, may)
			if err != nil && i > 0 {
				return nil // then there is one less to help
			}
			if err != nil {
				return fmt.Errorf("spec %s: %w", spec.Name, err)
			}
			defer func() { err = errors.Join(err, c.close(context.WithoutCancel(ctx))) }()
			for j := range jobs {
				var out bytes.Buffer
				err := c.run(ctx, j.item, &out)
				j.done <- part{out.Bytes(), err}
			}
			return nil
		})
	}
	return share(ctx, spec.orders(), workers, func(_ Permutation, p part) error {
		_, err := w.Write(p.text)
		return errors.Join(err, p.err)
	})
}

// worth returns how many crews are worth it: getting one ready takes as long as some permutations do.
func (s *Spec) worth() int {
	const each, most = 20, 1000
	n := 0
	for range s.orders() {
		if n++; n == each*most {
			break
		}
	}
	return 1 + n/each
}

// Each runs several specs, at the same time as far as there are servers, and hands over what became of them, in their order: the transcript, and the
// error of [Tester.Run]. It ends with the first error that done returns.
func (t *Tester) Each(ctx context.Context, specs []Named, done func(spec Named, transcript []byte, err error) error) error {
	var workers []worker[Named]
	for _, p := range t.places {
		alone := &Tester{config: t.config, places: []place{p}}
		alone.config.Workers = max(t.config.Workers/len(t.places), 1)
		workers = append(workers, func(ctx context.Context, jobs <-chan job[Named]) error {
			for j := range jobs {
				var out bytes.Buffer
				err := alone.Run(ctx, j.item, &out)
				j.done <- part{out.Bytes(), err}
			}
			return nil
		})
	}
	return share(ctx, slices.Values(specs), workers, func(spec Named, p part) error { return done(spec, p.text, p.err) })
}

// heading is what the transcript begins with.
func (s *Spec) heading() string {
	used := map[string]bool{}
	for _, p := range s.Permutations {
		for _, step := range p.Steps {
			used[step.Step] = true
		}
	}
	var unused []string
	for _, session := range s.Sessions {
		for _, step := range session.Steps {
			if len(s.Permutations) > 0 && !used[step.Name] {
				unused = append(unused, fmt.Sprintf("unused step name: %s\n", step.Name))
			}
		}
	}
	slices.Sort(unused)
	return strings.Join(unused, "") + fmt.Sprintf("Parsed test spec with %d sessions\n", len(s.Sessions))
}
