package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/interlock-pg/interlock/harness/target/draft"
)

type initCommand struct {
	File    string `arg:"" optional:"" help:"The target file to write; '-' is standard output. Default: interlock.yaml." name:"file" default:"interlock.yaml"`
	Dir     string `help:"The directory that the application is in. Default: that of the file." placeholder:"DIR"`
	OpenAPI string `help:"OpenAPI file (3.0, 3.1) to take the requests from. Default: the application's, if it has one." name:"openapi" placeholder:"FILE"`
	Request string `help:"What two clients ask for at once, as 'POST /api/things {\"a\": 1}'; with a body from OpenAPI where it has none." placeholder:"REQUEST"`
	Yes     bool   `help:"Ask nothing: take what is found by looking." short:"y"`
	Force   bool   `help:"Overwrite the file."`
}

func (c *initCommand) Run(ctx context.Context, out *output) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Dir == "" {
		c.Dir = filepath.Dir(c.File) // of "-" too: here
	}
	d, err := draft.Look(c.Dir)
	if err != nil {
		return exit{exitUsage, err}
	}
	if c.Yes {
		err = c.take(&d)
	} else {
		err = unlessInterrupted(ctx, func() error { return c.ask(&d, out.stderr) })
	}
	if err != nil {
		return err
	}
	project, err := c.project()
	if err != nil {
		return err
	}
	text, err := d.Under(project).YAML(cmp.Or(strings.TrimPrefix(c.File, "-"), "interlock.yaml"))
	if err != nil {
		return exit{exitUsage, err}
	}
	if err := c.write(out.stdout, text); err != nil {
		return err
	}
	if !out.Quiet {
		for _, note := range d.Notes {
			fmt.Fprintf(out.stderr, "note: %s\n", note)
		}
	}
	if c.File == "-" {
		return nil
	}
	_, err = fmt.Fprintf(out.stdout, "Written: %s. Read it, then: interlock explore --target %s\n", c.File, quote(c.File))
	return err
}

// check says what was mistyped.
func (c *initCommand) check() error {
	if c.File != "-" && !c.Force {
		if _, err := os.Lstat(c.File); err == nil {
			return usage("%s is there already, and is not overwritten; try another name, or --force", c.File)
		}
	}
	if !c.Yes && !isTerminal(os.Stdin) {
		return usage("init asks, and there is no terminal to ask on; try --yes, which takes what is found by looking")
	}
	return nil
}

// api reads the OpenAPI file that was named, or the one that the application has.
func (c *initCommand) api(d *draft.Draft) (draft.API, error) {
	switch {
	case c.OpenAPI != "":
		api, err := draft.ReadAPI(c.OpenAPI)
		if err != nil {
			return api, exit{exitUsage, err}
		}
		return api, nil
	case d.API != "":
		api, err := draft.ReadAPI(filepath.Join(c.Dir, filepath.FromSlash(d.API)))
		if err != nil {
			d.Notes = append(d.Notes, err.Error()) // nobody has asked for it
		}
		return api, nil
	}
	return draft.API{}, nil
}

// heed puts into the draft what the API says of the whole application.
func heed(d *draft.Draft, api draft.API) {
	d.Ready = cmp.Or(api.Ready, d.Ready)
	for _, skipped := range api.Skipped {
		d.Notes = append(d.Notes, "left out is "+skipped)
	}
}

// take decides without asking.
func (c *initCommand) take(d *draft.Draft) error {
	api, err := c.api(d)
	if err != nil {
		return err
	}
	heed(d, api)
	switch {
	case c.Request != "":
		return c.named(d, api)
	case len(api.Proposals) > 0:
		best := api.Proposals[0]
		d.Race = draft.Pair(best, best)
		d.Notes = append(d.Notes, best.Notes...)
		d.Notes = append(d.Notes, fmt.Sprintf("raced is %s, which %s; --request names another", best.Title(), best.Why))
	default:
		if c.OpenAPI != "" {
			return usage("%s has no request that changes something and has JSON for a body; try --request 'POST /api/things {}'", c.OpenAPI)
		}
		d.Race = draft.Same("POST", "/api/things", map[string]any{})
		d.Notes = append(d.Notes, "POST /api/things stands for a request of the application's: put one in, or try --openapi FILE or --request")
	}
	return nil
}

func (c *initCommand) named(d *draft.Draft, api draft.API) (err error) {
	var notes []string
	if d.Race, notes, err = draft.ParseRequest(c.Request, api); err != nil {
		return exit{exitUsage, fmt.Errorf("--request: %w", err)}
	}
	d.Notes = append(d.Notes, notes...)
	return nil
}

// ask goes through the draft with who is at the terminal.
func (c *initCommand) ask(d *draft.Draft, stderr io.Writer) error {
	api, err := c.api(&draft.Draft{}) // only what was named
	if err != nil {
		return err
	}
	asker := draft.NewAsker(os.Stdin, stderr)
	if c.OpenAPI == "" {
		api, err = asker.API(*d, c.Dir)
	}
	heed(d, api)
	if err == nil {
		*d, err = asker.Ask(*d, c.Dir)
	}
	if err == nil {
		err = c.askRace(asker, d, api)
	}
	if err == nil {
		err = asker.Rule(d)
	}
	if errors.Is(err, draft.ErrNoAnswer) {
		return exit{exitUsage, err}
	}
	return err
}

// askRace asks what is to be raced.
func (c *initCommand) askRace(asker *draft.Asker, d *draft.Draft, api draft.API) (err error) {
	var notes []string
	switch {
	case c.Request != "":
		return c.named(d, api)
	case len(api.Proposals) > 0:
		d.Race, notes, err = asker.Choose(api)
		d.Notes = append(d.Notes, notes...)
	default:
		d.Race, err = asker.Request()
	}
	return err
}

// unlessInterrupted does what reads from a terminal, which no context ends; that of a program that was interrupted ends with it.
func unlessInterrupted(ctx context.Context, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// project returns where the application is, from the target file.
func (c *initCommand) project() (string, error) {
	from, err := filepath.Abs(filepath.Dir(c.File))
	if err != nil {
		return "", err
	}
	to, err := filepath.Abs(c.Dir)
	if err != nil {
		return "", err
	}
	path, err := filepath.Rel(from, to)
	if err != nil { // on another drive
		return filepath.ToSlash(to), nil
	}
	return filepath.ToSlash(path), nil
}

// write writes the file whole or not at all.
func (c *initCommand) write(stdout io.Writer, text []byte) (err error) {
	if c.File == "-" {
		_, err = stdout.Write(text)
		return err
	}
	f, err := c.create()
	if err != nil {
		return fmt.Errorf("the target file: %w; try a directory that can be written to", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil && f.Name() != c.File {
		err = os.Rename(f.Name(), c.File)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("the target file: %w; try another path", err), os.Remove(f.Name()))
	}
	return nil
}

// create makes the file, which must not be there; with force it makes one to be put in its place.
func (c *initCommand) create() (*os.File, error) {
	if !c.Force {
		return os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	}
	f, err := os.CreateTemp(filepath.Dir(c.File), ".interlock-init-*")
	if err != nil {
		return nil, err
	}
	return f, f.Chmod(0o644)
}
