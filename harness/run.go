package harness

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/stress"
)

// Config says what to run, where, and how much of it. Server and Workloads are required; the zero value of the rest is a good default.
type Config struct {
	Server    *server.Server
	Stages    []Stage // each workload runs at each of them; none: on an empty database
	Workloads []Workload

	Seed   int64         // the same seed generates the same inputs, on every machine
	Rounds int           // for a workload at a stage; default 60
	For    time.Duration // the same, in time; default 2 s. A negative control is given up only when both bounds are reached
	Keep   bool          // keep the database of a finding, in the state that broke the invariant

	// Progress is called before each workload at a stage, with how many are done. Nil: not called.
	Progress func(done, total int, what string)
}

// Stage is a state of the schema, such as the one after a migration.
type Stage struct {
	Version int64 // of the last migration applied; 0: none
	// Migrations are those applied, for the record.
	Migrations []history.Migration
	// Apply brings a fresh database to the stage. It must close the connections that it opens.
	Apply func(context.Context, *pgx.ConnConfig) error
}

// Schema returns a stage that is made by a script of SQL.
func Schema(sql string) Stage {
	return Stage{Apply: func(ctx context.Context, config *pgx.ConnConfig) error {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		return errors.Join(err, conn.Close(ctx))
	}}
}

func (c Config) check() error {
	var errs []error
	if c.Server == nil {
		errs = append(errs, errors.New("field Server is missing; start one with a provider below harness/server"))
	}
	if len(c.Workloads) == 0 {
		errs = append(errs, errors.New("field Workloads is empty; name at least one"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("harness.Config: %w", err)
	}
	return nil
}

func (c Config) stress() stress.Config {
	return stress.Config{Seed: c.Seed, Rounds: c.Rounds, For: c.For}.Resolve()
}

// Run plays every workload at every stage and returns what happened. The error says why the run could not be made or finished; the run
// returned with it holds what there was until then. Findings are no error: they are in the run's verdict.
func Run(ctx context.Context, config Config) (history.Run, error) {
	if err := config.check(); err != nil {
		return history.Run{}, err
	}
	if len(config.Stages) == 0 {
		config.Stages = []Stage{Schema("")}
	}
	run := begin(config, history.KindRun)
	err := config.cells(ctx, &run)
	finish(&run, err)
	return run, err
}

// cells fills in the cells of the run, stage by stage for each workload.
func (c Config) cells(ctx context.Context, run *history.Run) error {
	if err := describeServer(ctx, c.Server, &run.Server); err != nil {
		return err
	}
	templates := make([]*server.Template, len(c.Stages))
	for i, stage := range c.Stages {
		template, err := c.Server.Template(ctx, stage.Apply)
		if err != nil {
			return err
		}
		templates[i] = template
		for _, m := range stage.Migrations {
			if !slices.ContainsFunc(run.Migrations, func(have history.Migration) bool { return have.Version == m.Version }) {
				run.Migrations = append(run.Migrations, m)
			}
		}
	}
	total := len(c.Workloads) * len(c.Stages)
	for _, w := range c.Workloads {
		for i, stage := range c.Stages {
			if c.Progress != nil {
				c.Progress(len(run.Cells), total, fmt.Sprintf("%s at %d", w.FullName(), stage.Version))
			}
			cell, err := c.cell(ctx, templates[i], w, stage.Version)
			if err != nil {
				return err
			}
			run.Cells = append(run.Cells, cell)
		}
	}
	return nil
}

// cell plays one workload on a database of its own.
func (c Config) cell(ctx context.Context, template *server.Template, w Workload, at int64) (cell history.Cell, err error) {
	err = onDatabase(ctx, template, func(arena *stress.Arena) (keep bool, err error) {
		if cell, err = arena.Cell(ctx, w, at, c.stress()); err != nil || !c.Keep || cell.AsExpected {
			return false, err
		}
		return c.breakAgain(ctx, arena, w, cell)
	}, func(dsn string) {
		for i := range cell.Counterexamples {
			cell.Counterexamples[i].Database = dsn
		}
	})
	return cell, err
}

// breakAgain leaves the database in the state that a counterexample of the cell makes.
func (c Config) breakAgain(ctx context.Context, arena *stress.Arena, w Workload, cell history.Cell) (bool, error) {
	for _, example := range cell.Counterexamples {
		input, err := w.Decode(example.Round.Input)
		if err != nil {
			return false, err
		}
		if broke, err := arena.Provoke(ctx, w, input, example.Invariant, c.stress()); broke || err != nil {
			return broke, err
		}
	}
	return false, nil
}

// onDatabase runs play on a clone of the template, and drops the clone unless play says to keep it; then kept is told its DSN.
func onDatabase(ctx context.Context, template *server.Template, play func(*stress.Arena) (keep bool, err error), kept func(dsn string)) error {
	db, err := template.Database(ctx)
	if err != nil {
		return err
	}
	after := context.WithoutCancel(ctx)
	arena, err := stress.Open(ctx, db)
	if err != nil {
		return errors.Join(err, db.Drop(after))
	}
	keep, err := play(arena)
	if err = errors.Join(err, arena.Close(after)); err != nil || !keep {
		return errors.Join(err, db.Drop(after))
	}
	dsn, err := db.Keep(after)
	if err == nil {
		kept(dsn)
	}
	return err
}

// ErrNotApplicable means that a recorded counterexample does not fit today's scenarios or migrations.
var ErrNotApplicable = errors.New("the recorded counterexample is no longer applicable")

// Replay plays the counterexamples of a recorded run again, on today's code: stages are those that there are now. The run is violated when
// one of them breaks its invariant again, and unknown when none does: a race that was not met may still be there.
func Replay(ctx context.Context, config Config, recorded history.Run) (history.Run, error) {
	if err := config.check(); err != nil {
		return history.Run{}, err
	}
	run := begin(config, history.KindReplay)
	run.Seed, run.MigrationsDir, run.Layout = recorded.Seed, recorded.MigrationsDir, recorded.Layout
	err := config.replays(ctx, &run, recorded)
	finish(&run, err)
	return run, err
}

func (c Config) replays(ctx context.Context, run *history.Run, recorded history.Run) error {
	if err := describeServer(ctx, c.Server, &run.Server); err != nil {
		return err
	}
	for _, cell := range recorded.Cells {
		for _, example := range cell.Counterexamples {
			again, err := c.replay(ctx, run, cell, example)
			if err != nil {
				return err
			}
			run.Cells = append(run.Cells, again)
		}
	}
	if len(run.Cells) == 0 {
		return fmt.Errorf("%w: the run file holds none; try one of the files that a violated run wrote beside its run.json", ErrNotApplicable)
	}
	return nil
}

// replay repeats one counterexample.
func (c Config) replay(ctx context.Context, run *history.Run, was history.Cell, example history.Counterexample) (history.Cell, error) {
	at := slices.IndexFunc(c.Stages, func(s Stage) bool { return s.Version == was.At })
	if at < 0 {
		return was, fmt.Errorf("%w: there is no migration %d now; try making the run again", ErrNotApplicable, was.At)
	}
	which := slices.IndexFunc(c.Workloads, func(w Workload) bool { return w.FullName() == was.Name() })
	if which < 0 {
		return was, fmt.Errorf("%w: there is no scenario %s now; try making the run again", ErrNotApplicable, was.Name())
	}
	w, stage := c.Workloads[which], c.Stages[at]
	input, err := w.Decode(example.Round.Input)
	if err != nil {
		return was, fmt.Errorf("%w: %w", ErrNotApplicable, err)
	}
	template, err := c.Server.Template(ctx, stage.Apply)
	if err != nil {
		return was, err
	}
	run.Migrations = stage.Migrations
	cell := history.Cell{Scenario: was.Scenario, Variant: was.Variant, Says: was.Says, At: was.At, AsExpected: true, Verdict: history.Unknown}
	err = onDatabase(ctx, template, func(arena *stress.Arena) (bool, error) {
		again, err := arena.Repeat(ctx, w, input, example.Invariant, c.stress())
		if err != nil {
			return false, err
		}
		if again.Reproduced > 0 {
			cell.Verdict = history.Violated
		}
		again.Found, again.Again, again.File = example.Round, example.Again, example.File
		if again.Round.Input == nil {
			again.Round = example.Round
		}
		cell.Counterexamples = []history.Counterexample{again}
		cell.Coverage.Rounds = again.Repeated
		cell.Coverage.Elapsed = again.Elapsed
		return false, nil
	}, nil)
	says := ""
	for _, j := range was.Invariants {
		if j.Invariant == example.Invariant {
			says = j.Says
		}
	}
	cell.Invariants = []history.Judgement{{Invariant: example.Invariant, Says: says, Verdict: cell.Verdict}}
	return cell, err
}

// begin starts the record of a run.
func begin(config Config, kind history.Kind) history.Run {
	bounds := config.stress()
	return history.Run{
		Format: history.Format, Kind: kind, Tool: Tool(), Started: time.Now(), Seed: config.Seed, Verdict: history.Unknown,
		Bounds: history.Bounds{Rounds: bounds.Rounds, For: history.Duration(bounds.For)},
		Server: history.Server{
			Provider: config.Server.Provider, Where: config.Server.Where, Release: config.Server.Release, Ready: history.Duration(config.Server.Ready),
		},
	}
}

// finish closes the record and judges the whole.
func finish(run *history.Run, trouble error) {
	run.Elapsed = history.Since(run.Started)
	run.Verdict = history.Held
	for _, cell := range run.Cells {
		run.Verdict = history.Worst(run.Verdict, meaning(run.Kind, cell))
	}
	if trouble != nil {
		run.Trouble = trouble.Error()
		if errors.Is(trouble, context.Canceled) {
			run.Trouble = "interrupted"
		}
		run.Verdict = history.Worst(run.Verdict, history.Unknown)
	}
}

// meaning returns what a cell means for its run: held, when it is as it must be, and violated when it is not. A negative control that was not
// caught is as bad as an invariant that was broken.
func meaning(kind history.Kind, cell history.Cell) history.Verdict {
	switch {
	case kind == history.KindReplay:
		return cell.Verdict
	case cell.AsExpected:
		return history.Held
	case cell.Trouble != "":
		return history.Unknown
	}
	verdict, wrong := history.Held, false
	for _, j := range cell.Invariants {
		switch {
		case j.AsExpected():
		case j.Verdict == history.Unknown:
			verdict, wrong = history.Worst(verdict, history.Unknown), true
		default:
			verdict, wrong = history.Violated, true
		}
	}
	if !wrong { // a control of which it is not known what it breaks
		return history.Violated
	}
	return verdict
}

// Tool describes this build of Interlock.
func Tool() history.Tool {
	tool := history.Tool{Version: "(devel)", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return tool
	}
	const module = "github.com/interlock-pg/interlock"
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path == module && m.Version != "" {
			tool.Version = m.Version
		}
	}
	return tool
}

// describeServer records the settings that differ from what a server has by itself.
func describeServer(ctx context.Context, s *server.Server, into *history.Server) error {
	conn, err := pgx.ConnectConfig(ctx, s.Config("", "settings"))
	if err != nil {
		return fmt.Errorf("reading the server's settings: %w", err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `select name, current_setting(name) from pg_settings
		where source in ('command line', 'configuration file', 'environment variable') and name !~ '(directory|directories|_file)$' order by 1`)
	if err != nil {
		return fmt.Errorf("reading the server's settings: %w", err)
	}
	into.Settings = map[string]string{}
	var name, setting string
	_, err = pgx.ForEachRow(rows, []any{&name, &setting}, func() error {
		into.Settings[name] = setting
		return nil
	})
	return err
}
