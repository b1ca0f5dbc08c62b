package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/repair"
	catalog "github.com/interlock-pg/interlock/harness/schema"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/dsn"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/migrations"
)

// The program is killed at random moments of its work. What is the user's is then as it was, or whole batches ahead and archived; what is ours goes:
// processes and their directories at once, databases on a server that is not ours with the next run there.
func TestKilled(t *testing.T) {
	times, err := strconv.Atoi(cmp.Or(os.Getenv("INTERLOCK_TEST_KILLS"), "0"))
	require.NoError(t, err)
	if times == 0 {
		t.Skip("make check kills: INTERLOCK_TEST_KILLS=50")
	}
	if runtime.GOOS != "linux" {
		t.Skip("finds processes in /proc")
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(killSeed); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("the same moments again: %s=%d go test -run %s ./cmd/interlock", killSeed, seed, t.Name())
	program := build(t)
	repairs, theirs, explored := times/2, times*3/10, times/5
	own := times - repairs - theirs
	for stream, kind := range []struct {
		name  string
		times int
		kill  func(k *killer, t *testing.T, times int)
	}{
		{"repair", repairs, (*killer).repair},
		{"gate on a server of the user's", theirs, (*killer).gateThere},
		{"gate on a server of its own", own, (*killer).gateOwn},
		{"explore an application", explored, (*killer).explore},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			kind.kill(&killer{path: program, random: rand.New(rand.NewPCG(seed, uint64(stream)))}, t, kind.times)
		})
	}
}

const (
	killSeed   = "INTERLOCK_TEST_KILL_SEED" // decides the moments; without it, the time does
	goneBy     = 20 * time.Second           // far more than anything takes that ends by itself
	everySoOft = 5 * time.Millisecond
)

// repair kills repairs of a database. Each is then brought to its end, and taken back.
func (k *killer) repair(t *testing.T, kills int) {
	const batch = 5
	ctx := t.Context()
	template, err := servertest.Server(t).Template(ctx, usersOwn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, template.Drop(context.Background())) })
	fresh := func(t *testing.T) (*pgx.Conn, []string) {
		db, err := template.Database(ctx)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Drop(context.Background())) })
		return connect(t, db.Config("observer")), []string{"repair", "--postgres", db.DSN()}
	}
	apply := []string{"--apply", "--yes", "--batch", strconv.Itoa(batch)}

	// Clones have the same rows, so what one repair cancels in the end is what each of them has to.
	conn, command := fresh(t)
	was := contents(t, conn)
	took := k.run(t, append(command, apply...)...)
	all := changed(t, was, contents(t, conn))
	require.Len(t, all[sessions], dirty)
	require.Len(t, all[schedules], crowdedDays)

	inside := 0
	for n := range kills {
		t.Run(fmt.Sprint(n+1), func(t *testing.T) {
			conn, command := fresh(t)
			k.kill(t, took, append(command, apply...)...)
			require.Eventually(t, func() bool {
				var others int
				err := conn.QueryRow(ctx, `select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`).Scan(&others)
				return err == nil && others == 0
			}, goneBy, everySoOft, "a backend of the killed repair is still there")

			now := contents(t, conn)
			requireArchived(t, conn, was, now)
			done := changed(t, was, now)
			for table, groups := range done {
				devices := sortedKeys(all[table])
				require.Equal(t, devices[:len(groups)], sortedKeys(groups), "%s are resolved in order", table)
				require.True(t, len(groups)%batch == 0 || len(groups) == len(devices), "%d devices of %s are no whole batches", len(groups), table)
				for device, cancelled := range groups {
					require.Equal(t, all[table][device], cancelled, "%s of %s", table, device)
				}
			}
			if len(done[schedules]) > 0 {
				require.Len(t, done[sessions], dirty, "one invariant after the other")
			}
			if some := len(done[sessions]) + len(done[schedules]); some > 0 && some < dirty+crowdedDays {
				inside++
			}

			k.run(t, append(command, apply...)...)
			now = contents(t, conn)
			requireArchived(t, conn, was, now)
			require.Equal(t, all, changed(t, was, now))
			rows, err := conn.Query(ctx, `select repair from `+repair.Archive+` group by repair order by max(archived_at) desc`)
			require.NoError(t, err)
			ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
			require.NoError(t, err)
			for _, id := range ids {
				k.run(t, append(command, "--undo", id)...)
			}
			require.Equal(t, was, contents(t, conn))
		})
	}
	t.Logf("a repair takes %v; %d of %d were killed between its first and its last batch", took.Round(time.Millisecond), inside, kills)
}

// gateThere kills gates on a server that is not theirs.
func (k *killer) gateThere(t *testing.T, kills int) {
	ctx := t.Context()
	srv := servertest.Server(t)
	admin := connect(t, srv.Config("", "observer"))
	const name = "killed_customers"
	_, err := admin.Exec(ctx, `create database `+name+` template template0`)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := admin.Exec(context.Background(), `drop database `+name+` with (force)`)
		require.NoError(t, err)
	})
	config := srv.Config(name, "observer")
	require.NoError(t, usersOwn(ctx, config))
	users := connect(t, config)
	was, made, cluster := contents(t, users), objects(t, users), shared(t, users)
	untouched := func(t *testing.T) {
		require.Equal(t, was, contents(t, users))
		require.Equal(t, made, objects(t, users))
		require.Equal(t, cluster, shared(t, users))
	}
	// left asks for what is of a run on this server other than the test's own.
	ours := strings.Fields(config.RuntimeParams["application_name"])[1]
	left := func(t *testing.T, sql string) []string {
		rows, err := admin.Query(ctx, sql, "interlock "+ours+" %", `interlock\_`+ours+`\_%`)
		require.NoError(t, err)
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return names
	}
	const (
		backends  = `select concat_ws(' ', application_name, datname, state, query) from pg_stat_activity where (application_name like 'interlock %' and application_name not like $1) or (datname like 'interlock\_%' and datname not like $2)`
		databases = `select datname from pg_database where datname like 'interlock%' and datname not like $2 and $1::text is not null`
	)

	command := []string{"gate", "--migrations", gooseDirectory(t), "--skip", "after", "--rows", "100", "--postgres", address(config)}
	took := k.run(t, command...)
	untouched(t)
	require.Empty(t, left(t, databases))
	behind := 0
	for n := range kills {
		t.Run(fmt.Sprint(n+1), func(t *testing.T) {
			killed := k.kill(t, took, command...)
			killed.requireGone(t)
			require.Eventually(t, func() bool { return len(left(t, backends)) == 0 }, goneBy, everySoOft, "backends of the killed gate are still there")
			untouched(t)
			if len(left(t, databases)) > 0 {
				behind++
			}
			next, err := dsn.Provider{}.Start(ctx, server.Config{DSN: address(config)})
			require.NoError(t, err)
			require.NoError(t, next.Stop(ctx))
			require.Empty(t, left(t, databases))
			untouched(t)
		})
	}
	k.run(t, command...)
	require.Empty(t, left(t, databases))
	untouched(t)
	t.Logf("a gate takes %v; %d of %d left databases to the next run", took.Round(time.Millisecond), behind, kills)
}

// gateOwn kills gates that started a server.
func (k *killer) gateOwn(t *testing.T, kills int) {
	srv := servertest.Server(t)
	command := []string{
		"gate", "--migrations", gooseDirectory(t), "--skip", "after", "--rows", "100",
		"--postgres", srv.Provider, "--pg-version", versionOf(srv),
	}
	took := k.run(t, command...)
	running := 0
	for n := range kills {
		t.Run(fmt.Sprint(n+1), func(t *testing.T) {
			killed := k.kill(t, took, command...)
			if len(killed.dirs) > 0 {
				running++
			}
			killed.requireGone(t)
		})
	}
	t.Logf("a gate takes %v; %d of %d had a server", took.Round(time.Millisecond), running, kills)
}

// explore kills searches of an application that they have built and started.
func (k *killer) explore(t *testing.T, kills int) {
	srv := servertest.Server(t)
	target, err := filepath.Abs("../../scenarios/inspection-api/go-fixed-sessions.yaml")
	require.NoError(t, err)
	command := []string{"explore", "--target", target, "--postgres", srv.Provider, "--pg-version", versionOf(srv)}
	took := k.run(t, command...)
	running := 0
	for n := range kills {
		t.Run(fmt.Sprint(n+1), func(t *testing.T) {
			killed := k.kill(t, took, command...)
			if len(killed.dirs) > 0 {
				running++
			}
			killed.requireGone(t)
		})
	}
	t.Logf("a search takes %v; %d of %d had a server", took.Round(time.Millisecond), running, kills)
}

func versionOf(srv *server.Server) string { return strconv.Itoa(srv.Version / 10000) }

// killer runs the program, and kills it.
type killer struct {
	path   string
	random *rand.Rand
}

// build builds the program. The test itself may be with the race detector, the program is as users have it.
func build(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "interlock")
	said, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".").CombinedOutput()
	require.NoError(t, err, "%s", said)
	return path
}

// started is a program at work.
type started struct {
	*exec.Cmd
	said bytes.Buffer
	mark string          // is in the environment of what it starts
	dirs map[string]bool // private directories of the servers that it started
}

func (k *killer) start(t *testing.T, args []string) *started {
	s := k.prepare(t, args)
	require.NoError(t, s.Start())
	return s
}

// prepare makes ready what start starts.
func (k *killer) prepare(t *testing.T, args []string) *started {
	dir := t.TempDir() // no other has it
	s := &started{mark: "PATH=" + os.Getenv("PATH") + string(os.PathListSeparator) + dir, dirs: map[string]bool{}}
	s.Cmd = exec.Command(k.path, args...)
	s.Dir, s.Env = dir, append(os.Environ(), s.mark)
	s.Stdout, s.Stderr = &s.said, &s.said
	return s
}

// run runs the program to its end, which must be a good one, and returns how long that took.
func (k *killer) run(t *testing.T, args ...string) time.Duration {
	begin := time.Now()
	s := k.start(t, args)
	require.NoError(t, s.Wait(), "%s\n%s", s, &s.said)
	return time.Since(begin)
}

// kill kills the program at a moment of its work, which takes so long. It may be over by then.
func (k *killer) kill(t *testing.T, took time.Duration, args ...string) *started {
	after := time.Duration(k.random.Int64N(int64(took)))
	s := k.start(t, args)
	time.Sleep(after)
	s.servers(s.processes())
	require.NoError(t, s.Process.Kill()) // it has not been waited for
	s.servers(s.processes())
	s.Wait() // killed, or over
	t.Logf("killed after %v of %v", after.Round(time.Millisecond), took.Round(time.Millisecond))
	return s
}

// processes are those that the program started, and theirs, by their commands.
func (s *started) processes() map[int][]string {
	found := map[int][]string{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if pid == os.Getpid() {
			continue
		}
		environment, _ := os.ReadFile(filepath.Join(dir, "environ")) // it may have ended; a backend of Postgres writes its title over it
		at, _ := os.Readlink(filepath.Join(dir, "cwd"))
		if slices.Contains(strings.Split(string(environment), "\x00"), s.mark) || s.dirs[filepath.Dir(at)] {
			command, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
			found[pid] = strings.Split(strings.TrimSuffix(string(command), "\x00"), "\x00")
		}
	}
	return found
}

// servers notes the private directories of supervisors: sh -c SCRIPT interlock DIR COMMAND…
func (s *started) servers(processes map[int][]string) {
	for _, command := range processes {
		if len(command) > 4 && command[1] == "-c" && command[3] == "interlock" {
			s.dirs[command[4]] = true
		}
	}
}

// requireGone waits for the end of all processes of the program, and of the directories of its servers.
func (s *started) requireGone(t *testing.T) {
	t.Helper()
	var left []string
	gone := func() bool {
		left = nil
		processes := s.processes()
		s.servers(processes)
		for pid, command := range processes {
			left = append(left, fmt.Sprint(pid, " ", command))
		}
		for dir := range s.dirs {
			if _, err := os.Lstat(dir); !os.IsNotExist(err) {
				left = append(left, dir)
			}
		}
		return len(left) == 0
	}
	for deadline := time.Now().Add(goneBy); !gone() && time.Now().Before(deadline); {
		time.Sleep(everySoOft)
	}
	require.Empty(t, left, "still there after %v", goneBy)
}

const (
	sessions  = "aedpics.inspection_sessions"
	schedules = "aedpics.inspection_schedules"

	dirty       = 301 // devices with more than one open session
	crowdedDays = 153 // devices with visits that are too close
)

// usersOwn makes a database as a user's: devices with three open sessions and a completed one, some with a chain of visits, the first of which is
// completed on every third device; and two devices that break nothing.
func usersOwn(ctx context.Context, config *pgx.ConnConfig) error {
	if _, err := migrations.Embedded().Apply(ctx, config, 1); err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, fmt.Sprintf(`
		insert into aedpics.user_profiles (full_name) values ('Kim');
		insert into aedpics.aed_data (equipment_serial) select to_char(n, '"AED-"FM000') from generate_series(1, %[1]d + 2) n;
		insert into aedpics.inspection_sessions (equipment_serial, inspector_id, status, current_step, started_at, completed_at, notes)
		select d.equipment_serial, u.id, s::aedpics.session_status, n, timestamptz '2025-11-10 10:00Z' + n * interval '1 min',
			case s when 'completed' then now() end, case n when 1 then 'door locked' end
		from aedpics.user_profiles u, aedpics.aed_data d, (values (1, 'active'), (2, 'paused'), (3, 'active'), (4, 'completed')) v (n, s)
		where d.id <= %[1]d or n in (1, 4);
		insert into aedpics.inspections (session_id, inspector_id, equipment_serial)
		select id, inspector_id, equipment_serial from aedpics.inspection_sessions where status = 'completed';
		insert into aedpics.inspection_schedules (aed_data_id, equipment_serial, scheduled_for, created_at, status)
		select d.id, d.equipment_serial, timestamptz '2025-11-11 10:00Z' + n * case when d.id <= %[2]d then interval '10 min' else interval '1 hour' end,
			now() + n * interval '1 s', case when n = 0 and d.id %% 3 = 0 then 'completed' else 'scheduled' end::aedpics.schedule_status
		from aedpics.aed_data d, generate_series(0, 4) n`, dirty, crowdedDays), pgx.QueryExecModeSimpleProtocol)
	return err
}

// gooseDirectory writes two migrations: the second is judged.
func gooseDirectory(t *testing.T) string {
	dir := t.TempDir()
	for name, sql := range map[string]string{
		"00001_visits.sql": "-- +goose Up\nCREATE TABLE visits (id int PRIMARY KEY, device int NOT NULL, day date);\n-- +goose Down\nDROP TABLE visits;\n",
		"00002_unique.sql": "-- +goose Up\nCREATE UNIQUE INDEX visits_day ON visits (device, day);\n-- +goose Down\nDROP INDEX visits_day;\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(sql), 0o644))
	}
	return dir
}

func connect(t *testing.T, config *pgx.ConnConfig) *pgx.Conn {
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// address is config as a DSN.
func address(config *pgx.ConnConfig) string {
	parameters := url.Values{"host": {config.Host}, "port": {fmt.Sprint(config.Port)}, "user": {config.User}, "password": {config.Password}}
	return (&url.URL{Scheme: "postgres", Path: "/" + config.Database, RawQuery: parameters.Encode()}).String()
}

// row is a whole row, and what of it the test goes by.
type row struct{ Device, Status, Whole string }

// place is where a row is.
type place struct{ Table, ID string }

// contents are all rows of a database outside the archive.
func contents(t *testing.T, conn *pgx.Conn) map[place]row {
	rows, err := conn.Query(t.Context(), `select format('%I.%I', schemaname, tablename) from pg_tables
		where schemaname not in ('pg_catalog', 'information_schema', 'interlock_archive')`)
	require.NoError(t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	found := map[place]row{}
	for _, table := range tables {
		rows, err := conn.Query(t.Context(), `select whole ->> 'id', coalesce(whole ->> 'equipment_serial', ''), coalesce(whole ->> 'status', ''), whole::text
			from `+table+` t, to_jsonb(t) whole`)
		require.NoError(t, err)
		var id string
		var r row
		_, err = pgx.ForEachRow(rows, []any{&id, &r.Device, &r.Status, &r.Whole}, func() error {
			found[place{table, id}] = r
			return nil
		})
		require.NoError(t, err)
	}
	return found
}

// changed returns the ids of the rows that a repair has cancelled, by table and device. Nothing else may differ.
func changed(t *testing.T, was, now map[place]row) map[string]map[string][]string {
	require.Equal(t, len(was), len(now), "rows came or went")
	found := map[string]map[string][]string{}
	for at, before := range was {
		after, there := now[at]
		require.True(t, there, "%v is gone", at)
		if after == before {
			continue
		}
		require.Contains(t, []string{sessions, schedules}, at.Table)
		require.Contains(t, []string{"active", "paused", "scheduled"}, before.Status, "history was touched: %v", before)
		require.Equal(t, "cancelled", after.Status)
		if found[at.Table] == nil {
			found[at.Table] = map[string][]string{}
		}
		found[at.Table][before.Device] = append(found[at.Table][before.Device], at.ID)
	}
	for _, devices := range found {
		for _, ids := range devices {
			slices.Sort(ids)
		}
	}
	return found
}

// requireArchived requires that the archive has the rows that differ, as they were and as they are, and no others.
func requireArchived(t *testing.T, conn *pgx.Conn, was, now map[place]row) {
	t.Helper()
	var there bool
	require.NoError(t, conn.QueryRow(t.Context(), `select to_regclass($1::text) is not null`, repair.Archive).Scan(&there))
	before, after := map[place]string{}, map[place]string{}
	if there {
		rows, err := conn.Query(t.Context(), `select relation, id::text, before::text, after::text from `+repair.Archive+` where undone_at is null`)
		require.NoError(t, err)
		var at place
		var old, new string
		_, err = pgx.ForEachRow(rows, []any{&at.Table, &at.ID, &old, &new}, func() error {
			require.NotContains(t, before, at, "archived twice")
			before[at], after[at] = old, new
			return nil
		})
		require.NoError(t, err)
	}
	wantBefore, wantAfter := map[place]string{}, map[place]string{}
	for at, r := range was {
		if now[at] != r {
			wantBefore[at], wantAfter[at] = r.Whole, now[at].Whole
		}
	}
	require.Equal(t, wantBefore, before)
	require.Equal(t, wantAfter, after)
}

// objects is the schema of a database.
func objects(t *testing.T, conn *pgx.Conn) catalog.Schema {
	s, err := catalog.Read(t.Context(), conn)
	require.NoError(t, err)
	return s
}

// shared is what a server has outside its databases, and the databases that Interlock did not make.
func shared(t *testing.T, conn *pgx.Conn) []string {
	rows, err := conn.Query(t.Context(), `
		select 'database ' || (to_jsonb(d) - 'datfrozenxid' - 'datminmxid')::text from pg_database d where datname not like 'interlock\_%'
		union all select 'role ' || to_jsonb(r)::text from pg_roles r
		union all select 'tablespace ' || to_jsonb(s)::text from pg_tablespace s
		union all select 'setting ' || to_jsonb(s)::text from pg_db_role_setting s
		union all select 'prepared ' || to_jsonb(x)::text from pg_prepared_xacts x
		union all select 'slot ' || slot_name from pg_replication_slots
		order by 1`)
	require.NoError(t, err)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return found
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
