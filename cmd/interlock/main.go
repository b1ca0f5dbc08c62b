// Command interlock finds, proves and reproduces race conditions in Postgres applications.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/interlock-pg/interlock/harness/server/auto"
	"github.com/interlock-pg/interlock/migrations"
	"github.com/interlock-pg/interlock/scenarios"
)

// Exit codes.
const (
	exitHeld        = 0
	exitViolated    = 1
	exitUsage       = 2
	exitCouldNotRun = 3
	exitUnknown     = 4
	exitInterrupted = 130
)

// exit is an error with an exit code of its own. A nil err is a result that has been printed already.
type exit struct {
	code int
	err  error
}

func (e exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e exit) Unwrap() error { return e.err }

// usage is an error in what the user typed.
func usage(format string, args ...any) error { return exit{exitUsage, fmt.Errorf(format, args...)} }

type commandLine struct {
	Run     runCommand     `cmd:"" help:"Spin up Postgres, apply the migrations, race the scenarios, check the invariants, write the reports."`
	Explore exploreCommand `cmd:"" help:"Run every order of steps that Postgres can tell apart: find the race, or prove that there is none."`
	Init    initCommand    `cmd:"" help:"Write a target file for the application in this directory, by looking and asking."`
	Load    loadCommand    `cmd:"" help:"Measure what each defence costs, side by side, and whether it holds at the rate that you expect."`
	Gate    gateCommand    `cmd:"" help:"Run migrations in every situation that production will put them in, and say whether they may ship."`
	Proxy   proxyCommand   `cmd:"" help:"Stand between your application and Postgres: tell every step, or let you play a race by hand."`
	Spec    specCommand    `cmd:"" help:"Run PostgreSQL isolation specs, and print what isolationtester prints."`
	Replay  replayCommand  `cmd:"" help:"Repeat a counterexample that a run wrote to a file."`
	Check   checkCommand   `cmd:"" help:"Check the invariants of an existing database, read only."`
	Repair  repairCommand  `cmd:"" help:"Resolve what breaks the invariants of an existing database, archiving every row that changes."`
	Serve   serveCommand   `cmd:"" help:"Watch the invariants of a live database: API, page, metrics, messages, scheduled repair."`
	Report  reportCommand  `cmd:"" help:"Render a run file again, offline."`
	List    listCommand    `cmd:"" help:"List the scenarios, their defences and the invariants."`
	Doctor  doctorCommand  `cmd:"" help:"Try each way to get a Postgres on this machine."`
	Version versionCommand `cmd:"" help:"Print the version."`

	output
	postgres
}

// output is what all commands share about what they print and where they write.
type output struct {
	Out    string `help:"Directory for reports and run files." default:"interlock-out" placeholder:"DIR" group:"Output"`
	JSON   bool   `help:"Print the run as JSON on standard output." group:"Output"`
	Quiet  bool   `help:"Print the verdict only." short:"q" group:"Output"`
	HTML   string `help:"Write the page for a browser to this file as well; '-' is standard output." name:"html" placeholder:"FILE" group:"Output"`
	Redact bool   `help:"Hide what comes from your data in everything that is printed and in every report; equal values stay equal. Run files stay as they are: they are for repeating." group:"Output"`

	stdout, stderr io.Writer
}

func main() {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once; what it started ends with it all the same
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program: it parses, runs and maps errors to exit codes.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	var cli commandLine
	exited := -1
	parser := kong.Must(&cli,
		kong.Name("interlock"),
		kong.Description("Finds, proves and reproduces race conditions in Postgres applications.\n\n"+
			"Exit codes: 0 held, 1 violated, 2 usage, 3 could not run, 4 unknown, 130 interrupted."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code; panic(exiting{}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Vars{"layouts": names(migrations.Layouts()), "ways": names(auto.Names()), "trials": names(trials()), "keeps": strings.ReplaceAll(names(scenarios.Keeps()), ", ", ",")},
	)
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(exiting); !ok {
				panic(p)
			}
			code = exited // --help has been printed
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "interlock: %v\nTry: interlock --help\n", redact(err.Error()))
		return exitUsage
	}
	cli.stdout, cli.stderr = stdout, stderr
	err = parsed.Run(&cli.output, &cli.postgres)
	var known exit
	switch {
	case errors.As(err, &known):
		code = known.code
		err = known.err
	case err != nil && ctx.Err() != nil:
		code, err = exitInterrupted, errors.New("interrupted; everything that was started has been stopped")
	case err != nil:
		code = exitCouldNotRun
	}
	if err != nil {
		fmt.Fprintf(stderr, "interlock: %v\n", redact(err.Error()))
	}
	return code
}

// exiting unwinds to run when kong has printed its help.
type exiting struct{}

// names lists words for people.
func names[S ~string](words []S) string {
	texts := make([]string, len(words))
	for i, word := range words {
		texts[i] = string(word)
	}
	return strings.Join(texts, ", ")
}
