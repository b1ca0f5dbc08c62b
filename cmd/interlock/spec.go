package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/interlock-pg/interlock/harness/isolation"
	"github.com/interlock-pg/interlock/harness/server"
)

type specCommand struct {
	Files     []string      `arg:"" help:"PostgreSQL isolation specs; '-' is standard input." name:"file"`
	Expected  string        `help:"Compare the transcripts with NAME.out, NAME_1.out and so on in this directory, instead of printing them." placeholder:"DIR"`
	Workers   int           `help:"How many specs, or permutations of one, run at the same time, where that changes no result. Default: twice as many as there are cores." placeholder:"N" group:"Bounds"`
	StepLimit time.Duration `help:"How long a step may take before it is cancelled." default:"300s" group:"Bounds"`
}

// expectedFile is a transcript that is right.
type expectedFile struct {
	name string
	text []byte
}

func (c *specCommand) Run(ctx context.Context, out *output, pg *postgres) (err error) {
	if c.Workers < 0 || c.StepLimit <= 0 {
		return usage("--workers must not be negative, and --step-limit must be more than 0")
	}
	if c.Workers == 0 {
		c.Workers = isolation.DefaultWorkers()
	}
	specs, expected, err := c.load()
	if err != nil {
		return exit{exitUsage, err}
	}
	provider, err := pg.provider()
	if err != nil {
		return err
	}
	servers, err := c.start(ctx, provider, pg.config(out))
	defer func() {
		for _, srv := range servers {
			err = errors.Join(err, srv.Stop(context.WithoutCancel(ctx)))
		}
	}()
	if err != nil {
		return err
	}
	tester, err := isolation.Open(ctx, isolation.Config{Servers: servers, Workers: c.Workers, StepLimit: c.StepLimit})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tester.Close(context.WithoutCancel(ctx))) }()
	switch {
	case c.Expected != "":
		return c.compare(ctx, out, tester, specs, expected)
	case len(specs) == 1:
		return ended(tester.Run(ctx, specs[0], out.stdout))
	default:
		return c.print(ctx, out, tester, specs)
	}
}

// load reads the specs, and what is expected of each. Of several that are wrong, all are reported.
func (c *specCommand) load() (specs []isolation.Named, expected map[string][]expectedFile, err error) {
	var errs []error
	expected = map[string][]expectedFile{}
	for _, path := range c.Files {
		spec := isolation.Named{Name: strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))}
		text, err := readSpec(path)
		if err == nil {
			spec.Spec, err = isolation.Parse(path, text)
		}
		if err == nil && c.Expected != "" {
			expected[spec.Name], err = readExpected(c.Expected, spec.Name)
		}
		specs, errs = append(specs, spec), append(errs, err)
	}
	return specs, expected, errors.Join(errs...)
}

func readSpec(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(os.Stdin)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w; try: the path of a .spec file, or '-' for standard input", err)
	}
	return text, nil
}

// readExpected reads the transcripts that are right for a spec: NAME.out, and its alternates NAME_0.out to NAME_9.out.
func readExpected(dir, name string) (found []expectedFile, err error) {
	for _, suffix := range []string{"", "_0", "_1", "_2", "_3", "_4", "_5", "_6", "_7", "_8", "_9"} {
		file := filepath.Join(dir, name+suffix+".out")
		text, err := os.ReadFile(file)
		switch {
		case err == nil:
			found = append(found, expectedFile{file, text})
		case !errors.Is(err, os.ErrNotExist):
			return nil, err
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("there is no %s; try: run the spec without --expected, and write there what is right", filepath.Join(dir, name+".out"))
	}
	return found, nil
}

// start starts a server, or for several specs several, since a server of its own is what keeps a spec apart from others.
func (c *specCommand) start(ctx context.Context, provider server.Provider, config server.Config) ([]*server.Server, error) {
	first, err := provider.Start(ctx, config)
	if err != nil {
		return nil, err
	}
	servers := []*server.Server{first}
	config.Log = nil                                                               // what there was to say of the first
	for first.Provider == "local" && len(servers) < min(c.Workers, len(c.Files)) { // elsewhere, one more costs more than it saves
		srv, err := provider.Start(ctx, config)
		if err != nil {
			return servers, err
		}
		servers = append(servers, srv)
	}
	return servers, nil
}

// ended makes a spec that ended early exit with 1, as isolationtester does.
func ended(err error) error {
	if errors.Is(err, isolation.ErrEnded) {
		return exit{exitViolated, err}
	}
	return err
}

// print prints the transcripts, one after another.
func (c *specCommand) print(ctx context.Context, out *output, tester *isolation.Tester, specs []isolation.Named) error {
	var early []error
	err := tester.Each(ctx, specs, func(spec isolation.Named, transcript []byte, err error) error {
		if errors.Is(err, isolation.ErrEnded) {
			early, err = append(early, fmt.Errorf("%s: %w", spec.Name, err)), nil
		}
		_, writeErr := out.stdout.Write(transcript)
		return errors.Join(err, writeErr)
	})
	if err != nil {
		return err
	}
	return ended(errors.Join(early...))
}

// compare prints a line for each spec, and how its transcript differs from what is expected.
func (c *specCommand) compare(ctx context.Context, out *output, tester *isolation.Tester, specs []isolation.Named, expected map[string][]expectedFile) error {
	differ := 0
	err := tester.Each(ctx, specs, func(spec isolation.Named, transcript []byte, err error) error {
		if err != nil && !errors.Is(err, isolation.ErrEnded) {
			return err
		}
		var nearest []byte
		for i, e := range expected[spec.Name] {
			d := diff.Diff(e.name, e.text, spec.Name, transcript)
			if i == 0 || len(d) < len(nearest) {
				nearest = d
			}
		}
		switch {
		case len(nearest) == 0 && !out.Quiet:
			fmt.Fprintf(out.stdout, "ok      %s\n", spec.Name)
		case len(nearest) > 0:
			differ++
			fmt.Fprintf(out.stdout, "differs %s\n", spec.Name)
			if !out.Quiet {
				_, err := out.stdout.Write(nearest)
				return err
			}
		}
		return nil
	})
	if err == nil && differ > 0 {
		return exit{exitViolated, fmt.Errorf("%d of %d specs differ from what is expected", differ, len(specs))}
	}
	return err
}
