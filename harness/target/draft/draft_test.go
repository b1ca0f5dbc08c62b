package draft_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/target"
	"github.com/interlock-pg/interlock/harness/target/draft"
	"github.com/interlock-pg/interlock/migrations"
)

// basic is a draft that has what every target file has.
func basic() draft.Draft {
	return draft.Draft{
		Name: "thing", Migrations: "migrations", Layout: migrations.Goose, Command: []string{"bin/thing"},
		Environment: []draft.Variable{{Name: "DATABASE_URL", Value: "{{proxy_url}}"}, {Name: "PORT", Value: "{{port}}"}},
		Race:        draft.Same("POST", "/api/things", map[string]any{}), Pings: []string{`^\s*ping$`},
	}
}

// harmless takes out what begins a name, which a draft never has in texts that are not its own.
func harmless(text string) string { return strings.ReplaceAll(text, "{{", "{") }

// Whatever texts a draft is made of, what it writes is a target file, and says these texts.
func TestWritesWhatIsRead(t *testing.T) {
	t.Parallel()
	parameters := gopter.DefaultTestParameters()
	parameters.MinSuccessfulTests = 40
	if servertest.Thorough() {
		parameters.MinSuccessfulTests = 100
	}
	properties := gopter.NewProperties(parameters)
	word := gen.OneGenOf(gen.AlphaString(), gen.AnyString(), gen.OneConstOf(
		"yes", "null", "~", "1", "-1", ".5", "-.5", "1e3", ".inf", "0x1f", "a: b", "# c", "- d", "'", `"`,
		"\\", `\d'`, "", " a ", "{a}", "[b", "%",
		"@x", "`", "a #b", "?", "-", "--", "---", "...", ".", "..", "2030-01-07", "<<",
		"*a", "&b", "!t", "|", ">", "a\nb", "\ta", "é😀\u2028\u0085\ufeff"))
	properties.Property("written and read", prop.ForAll(func(words []string, name string) (string, error) {
		d := basic()
		body := map[string]any{"n": json.Number("1"), "f": 0.25, "b": true, "none": nil, "deep": []any{[]any{}, map[string]any{}}}
		for i, w := range words {
			w = harmless(strings.ToValidUTF8(w, "?")) // JSON has no other
			words[i] = w
			d.Command = append(d.Command, w)
			body[w] = []any{w, map[string]any{w: w}}
		}
		d.Race = draft.Same("POST", "/api/things", body)
		d.Rows = harmless(name)
		text, err := d.YAML("f.yaml")
		if err != nil {
			return "", err
		}
		f, err := target.Parse("f.yaml", text)
		if err != nil {
			return "", err
		}
		for i, w := range words {
			if got := f.Application.Command[i+1]; got != w {
				return "", errors.New("read as " + got + " in\n" + string(text))
			}
			got, _ := f.Clients[0].Requests[0].JSON.(map[string]any)
			if !reflect.DeepEqual(got[w], []any{w, map[string]any{w: w}}) && w != "n" && w != "f" && w != "b" {
				return "", errors.New("a key or value was lost in\n" + string(text))
			}
		}
		return "", nil
	}, gen.SliceOf(word), word))
	properties.TestingRun(t)
}

func TestNothingToWrite(t *testing.T) {
	t.Parallel()
	d := basic()
	d.Command = nil
	_, err := d.YAML("f.yaml")
	require.ErrorContains(t, err, "try the directory of its package.json")
	d = basic()
	d.Race = draft.Race{}
	_, err = d.YAML("f.yaml")
	require.ErrorContains(t, err, "try --request")
	d = basic()
	d.Environment = nil
	_, err = d.YAML("f.yaml")
	require.ErrorContains(t, err, "nothing tells the application where Postgres is")
}

func TestUnder(t *testing.T) {
	t.Parallel()
	d := basic().Under("../app")
	require.Equal(t, "../app", d.Directory)
	require.Equal(t, "../app/migrations", d.Migrations)
	require.Empty(t, d.SchemaFile)
	require.Equal(t, basic(), basic().Under("."))
}

// project makes a directory with files in it.
func project(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "thing")
	for name, text := range files {
		full := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(full), 0o755))
		require.NoError(t, os.WriteFile(full, []byte(text), 0o644))
	}
	return dir
}

func TestLook(t *testing.T) {
	t.Parallel()
	type variables = []draft.Variable
	both := variables{{Name: "DATABASE_URL", Value: "{{proxy_url}}"}, {Name: "PORT", Value: "{{port}}"}}
	for name, c := range map[string]struct {
		files       map[string]string
		command     []string
		build       []string
		environment variables
		ready       string
		tables      string
	}{
		"pnpm, and a start that needs more than node": {
			files:   map[string]string{"package.json": `{"scripts": {"start": "NODE_ENV=x node a.js", "build": "tsc"}}`, "pnpm-lock.yaml": ""},
			command: []string{"pnpm", "start"}, build: []string{"pnpm", "run", "build"}, environment: both, tables: "schema.sql",
		},
		"only a main": {
			files:   map[string]string{"package.json": `{"main": "a.js", "dependencies": {"@prisma/client": "7"}}`, "schema.sql": "create table t ();"},
			command: []string{"node", "a.js"}, build: []string{"npx", "prisma", "generate"}, environment: both, tables: "schema.sql",
		},
		"no JSON": {
			files:   map[string]string{"package.json": "{", "Procfile": "worker: w\nweb: run --port $PORT\n"},
			command: []string{"/bin/sh", "-c", "run --port $PORT"}, environment: both, tables: "schema.sql",
		},
		"FastAPI, with a driver in the URL": {
			files: map[string]string{
				"app/main.py": "app = FastAPI()\n@app.get('/ready')\n",
				".env.example": "export DATABASE_URL=postgresql+asyncpg://a:b@c/d\n" +
					"SECRET='x # y'\nREDIS_URL=redis://r\nEMPTY=\n",
			},
			command: []string{"uvicorn", "app.main:app", "--host", "127.0.0.1", "--port", "{{port}}"}, ready: "/ready", tables: "schema.sql",
			environment: variables{
				{Name: "DATABASE_URL", Value: "postgresql+asyncpg://{{proxy_user}}:{{proxy_password}}@{{proxy_host}}:{{proxy_port}}/{{proxy_database}}"},
				{Name: "SECRET", Value: "x # y"},
				{Name: "REDIS_URL", Value: "redis://r"},
			},
		},
		"Flask": {
			files:   map[string]string{"app.py": "web: Flask = Flask(__name__)\n", "migrations/V1__a.sql": "select 1;"},
			command: []string{"flask", "--app", "app:web", "run", "--host", "127.0.0.1", "--port", "{{port}}"}, tables: "migrations",
			environment: variables{{Name: "DATABASE_URL", Value: "{{proxy_url}}"}},
		},
		"Gradle": {
			files: map[string]string{"build.gradle.kts": "version = \"2\"\n", "settings.gradle.kts": "rootProject.name = \"g\"", "gradlew": ""},
			build: []string{"./gradlew", "-q", "bootJar"}, command: []string{"java", "-jar", "build/libs/g-2.jar"}, tables: "schema.sql",
			environment: variables{
				{Name: "SPRING_DATASOURCE_URL", Value: "jdbc:postgresql://{{proxy_host}}:{{proxy_port}}/{{proxy_database}}"},
				{Name: "SPRING_DATASOURCE_USERNAME", Value: "{{proxy_user}}"},
				{Name: "SPRING_DATASOURCE_PASSWORD", Value: "{{proxy_password}}"},
				{Name: "SERVER_PORT", Value: "{{port}}"},
			},
		},
		"Go, in a directory of a repository": {
			files:   map[string]string{"../go.mod": "module m\n", "../.git/HEAD": "", "../migrations/1.sql": "select 1;", "main.go": "package main\n"},
			command: []string{"bin/thing"}, build: []string{"go", "build", "-o", "bin/thing", "."}, environment: both, tables: "../migrations",
		},
		"Go with lib/pq": {
			files:   map[string]string{"go.mod": "module m\n", "main.go": "package main\nimport _ \"github.com/lib/pq\"\nvar _ = os.Getenv(\"DB_URL\")"},
			command: []string{"bin/thing"}, build: []string{"go", "build", "-o", "bin/thing", "."}, tables: "schema.sql",
			environment: variables{{Name: "DB_URL", Value: "{{proxy_url}}?sslmode=disable"}, {Name: "PORT", Value: "{{port}}"}},
		},
		"Go with lib/pq and its variables": {
			files: map[string]string{
				"go.mod": "module m\n", "main.go": "package main\nimport _ \"github.com/lib/pq\"",
				".env.example": "PGHOST=localhost\nPGUSER=me\nDB_SSL_MODE=require\n",
			},
			command: []string{"bin/thing"}, build: []string{"go", "build", "-o", "bin/thing", "."}, tables: "schema.sql",
			environment: variables{
				{Name: "PGHOST", Value: "{{proxy_host}}"},
				{Name: "PGUSER", Value: "{{proxy_user}}"},
				{Name: "DB_SSL_MODE", Value: "disable"},
				{Name: "PGSSLMODE", Value: "disable"},
				{Name: "PORT", Value: "{{port}}"},
			},
		},
		"parameters of the URL": {
			files: map[string]string{
				"package.json": `{"main": "a.js"}`,
				".env.example": "DATABASE_URL=postgres://a:b@c/d?sslmode=disable&schema=app&connection_limit=5\n",
			},
			command: []string{"node", "a.js"}, tables: "schema.sql",
			environment: variables{{Name: "DATABASE_URL", Value: "{{proxy_url}}?sslmode=disable&schema=app"}, {Name: "PORT", Value: "{{port}}"}},
		},
		"nothing": {files: map[string]string{"README": ""}, environment: both, tables: "schema.sql"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := draft.Look(project(t, c.files))
			require.NoError(t, err)
			require.Equal(t, "thing", d.Name)
			require.Equal(t, c.command, d.Command)
			require.Equal(t, c.build, d.Build)
			require.Equal(t, c.environment, d.Environment)
			require.Equal(t, c.ready, d.Ready)
			require.Equal(t, c.tables, d.Migrations+d.SchemaFile)
		})
	}
	_, err := draft.Look(filepath.Join(t.TempDir(), "nowhere"))
	require.ErrorContains(t, err, "try the directory")
}

func TestReadAPI(t *testing.T) {
	t.Parallel()
	const head = "openapi: 3.0.0\ninfo: {title: a, version: '1'}\n"
	dir := project(t, map[string]string{
		"two.yaml": "swagger: '2.0'\ninfo: {title: a, version: '1'}\npaths: {}\n",
		"no.yaml":  "- a",
		"far.yaml": head + "paths: {/a: {$ref: 'http://127.0.0.1:1/a.yaml'}}",
		"up.yaml":  head + "paths: {/a: {$ref: '../../../../../../etc/hostname'}}",
		"api.yaml": head + "paths: {/a: {$ref: 'below/a.yaml'}, /readyz: {get: {responses: {'200': {description: a}}}}}",
		"below/a.yaml": "post: {deprecated: true, requestBody: {content: {application/vnd.a+json: {example: {a: '{{{b}}', c: 1e300}}}},\n" +
			"  responses: {'201': {description: b}}}",
		"form.yaml":  head + "paths: {/a: {post: {requestBody: {required: true, content: {text/plain: {}}}, responses: {'201': {description: b}}}}}",
		"empty.yaml": head,
	})
	for name, want := range map[string]string{
		"two.yaml": "swagger2openapi", "no.yaml": "lint", "far.yaml": "try a copy beside far.yaml",
		"up.yaml": "escapes", "nowhere.yaml": "try the path of a file",
	} {
		_, err := draft.ReadAPI(filepath.Join(dir, name))
		require.ErrorContains(t, err, want, name)
	}
	api, err := draft.ReadAPI(filepath.Join(dir, "api.yaml"))
	require.NoError(t, err)
	require.Equal(t, "/readyz", api.Ready)
	require.Len(t, api.Proposals, 1)
	require.Equal(t, "creates; deprecated", api.Proposals[0].Why)
	require.Equal(t, "{ { {b}}", api.Proposals[0].Clients[0][0].Body.(map[string]any)["a"])
	api, err = draft.ReadAPI(filepath.Join(dir, "form.yaml"))
	require.NoError(t, err)
	require.Equal(t, []string{"POST /a: its body is not JSON"}, api.Skipped)
	api, err = draft.ReadAPI(filepath.Join(dir, "empty.yaml"))
	require.NoError(t, err)
	require.Empty(t, api.Proposals)
}

// The reference application's own file: the session race comes first, and its two inspectors are two.
func TestReferenceAPI(t *testing.T) {
	t.Parallel()
	api, err := draft.ReadAPI("../../../scenarios/inspection-api/openapi.yaml")
	require.NoError(t, err)
	require.Equal(t, "/healthz", api.Ready)
	require.Empty(t, api.Skipped)
	require.Equal(t, "POST /api/inspections/sessions", api.Proposals[0].Title())
	require.NotEqual(t, api.Proposals[0].Clients[0][0].Headers, api.Proposals[0].Clients[1][0].Headers)
	require.Equal(t, map[string]any{"equipmentSerial": "AED-1", "scheduledFor": "2026-01-05T10:00:00Z"}, api.Proposals[1].Clients[0][0].Body)
	require.Equal(t, "$.id", api.Proposals[1].Clients[1][0].Row)
}

// A dialogue that corrects itself: wrong answers are said, and asked again.
func TestAsk(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{"sql/1_a.sql": "select 1;", "openapi.yaml": `openapi: 3.0.0
info: {title: a, version: '1'}
paths:
  /a: {post: {responses: {'200': {description: a}, '201': {description: a}}}}
  /b: {post: {responses: {'200': {description: a}}}}`})
	d, err := draft.Look(dir)
	require.NoError(t, err)
	answers := []string{
		"sql/1_a.sql", "", // the OpenAPI file
		"-", "run {{proxy_url}}", "run me | tee log", "make all", // command and build
		"nowhere", "sql", "no name", "-", "DB", "ADDR PORT", "-", "LISTEN_AT", // tables and variables
		"ready", "/ready", "insert into a values (1)", // the path, the rows
		"3", "1 2 1", "2, 1", // which requests
		"drop table a", "select 1;", // the invariant
	}
	var shown strings.Builder
	asker := draft.NewAsker(strings.NewReader(strings.Join(answers, "\n")+"\n"), &shown)
	api, err := asker.API(d, dir)
	require.NoError(t, err)
	d, err = asker.Ask(d, dir)
	require.NoError(t, err, shown.String())
	d.Race, _, err = asker.Choose(api)
	require.NoError(t, err, shown.String())
	require.NoError(t, asker.Rule(&d))
	text, err := d.YAML(filepath.Join(dir, "interlock.yaml"))
	require.NoError(t, err, shown.String())
	f, err := target.Parse("interlock.yaml", text)
	require.NoError(t, err)
	require.Equal(t, []string{"/bin/sh", "-c", "run me | tee log"}, f.Application.Command)
	require.Equal(t, []string{"make", "all"}, f.Application.Build)
	require.Equal(t, map[string]string{"DB": "{{proxy_url}}", "LISTEN_AT": "{{port}}"}, f.Application.Environment)
	require.Equal(t, "/ready", f.Application.Ready.Path)
	require.Equal(t, "sql", f.Database.Migrations)
	require.Equal(t, migrations.Plain, f.Database.Layout)
	require.Equal(t, "insert into a values (1)", f.Reset.SQL)
	require.Equal(t, "/b", f.Clients[0].Requests[0].Path)
	require.Equal(t, "/a", f.Clients[1].Requests[0].Path)
	require.Equal(t, []target.Status{"200"}, f.Outcomes.Done)
	require.Equal(t, "select 1", f.Invariants[0].SQL)
	for _, said := range []string{
		"lint, which says what is wrong", "nothing can be raced", "there is no such directory", "no name of a variable", "it would go to another database", "it would not be found", "is no path",
		`"3" is none of them`, "one or two", "that is no query",
	} {
		require.Contains(t, shown.String(), said)
	}
}

func TestAskForARequest(t *testing.T) {
	t.Parallel()
	asker := draft.NewAsker(strings.NewReader("\nPOST api\npost /api/things?a=1\n{a\n{\"a\": \"{{b\"}\n"), io.Discard)
	race, err := asker.Request()
	require.NoError(t, err)
	require.Equal(t, draft.Same("POST", "/api/things?a=1", map[string]any{"a": "{ {b"}), race)
	_, err = asker.Request()
	require.ErrorIs(t, err, draft.ErrNoAnswer)
}

func TestParseRequest(t *testing.T) {
	t.Parallel()
	race, _, err := draft.ParseRequest(`PUT /a {"b": 1}`, draft.API{})
	require.NoError(t, err)
	require.Equal(t, "PUT", race.Clients[1].Requests[0].Method)
	for _, wrong := range []string{"", "PUT", "PUT a", "PUT /a {", "PUT /a/{id}", "P-T /a", "PUT /{{a}}"} {
		_, _, err := draft.ParseRequest(wrong, draft.API{})
		require.ErrorContains(t, err, "try", wrong)
	}
}

// FuzzParseAPI: whatever an OpenAPI file holds, reading it ends, and each proposal that comes of it is a target file.
func FuzzParseAPI(f *testing.F) {
	text, err := os.ReadFile("../../../scenarios/inspection-api/openapi.yaml")
	require.NoError(f, err)
	f.Add(text)
	for _, name := range []string{"shop.json", "bank.yaml", "knots.yaml"} {
		text, err := os.ReadFile("testdata/" + name)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		api, err := draft.ParseAPI(text, "/api.yaml", func(*url.URL) ([]byte, error) { return nil, errors.New("there are no others") })
		if err != nil {
			require.Contains(t, err.Error(), "try")
			return
		}
		for _, p := range api.Proposals[:min(len(api.Proposals), 20)] {
			d := basic()
			d.Ready = api.Ready
			d.Race = draft.Pair(p, api.Proposals[0])
			text, err := d.YAML("f.yaml")
			require.NoError(t, err, "%s\n%s", p.Title(), text)
		}
	})
}
