package draft

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/interlock-pg/interlock/migrations"
)

// Look says what a directory tells about the application in it. What it does not tell has a default, and a note where somebody has to act on it.
func Look(dir string) (Draft, error) {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return Draft{}, fmt.Errorf("the project: %w; try the directory that the application is in", err)
	case !info.IsDir():
		return Draft{}, fmt.Errorf("the project %s is a file; try the directory that it is in", dir)
	}
	whole, err := filepath.Abs(dir)
	if err != nil {
		return Draft{}, fmt.Errorf("the project %s: %w; try another path", dir, err)
	}
	p := project{dir: dir, above: above(whole)}
	p.read()
	d := Draft{Name: nameOf(filepath.Base(whole)), Pings: []string{`(?i)^\s*select 1\s*;?\s*$`}}
	for _, kind := range []func(project, *Draft) bool{node, django, python, rails, spring, golang, procfile} {
		if kind(p, &d) {
			break
		}
	}
	p.tables(&d)
	p.environment(&d)
	if d.Ready == "" {
		d.Ready = p.readyPath()
	}
	for _, seed := range []string{"seed.sql", "seeds.sql", "db/seed.sql", "db/seeds.sql", "prisma/seed.sql", "../seed.sql"} {
		if strings.HasPrefix(seed, "../") && p.above == 0 {
			continue // it is somebody else's
		}
		if text := p.text(seed); d.Rows == "" && strings.TrimSpace(text) != "" && len(text) <= mostSeed {
			d.Rows = text
			d.Notes = append(d.Notes, "the rows before each run are a copy of "+seed)
		}
	}
	for _, within := range []string{"", "docs/", "api/"} {
		for _, name := range []string{"openapi.yaml", "openapi.yml", "openapi.json"} {
			if d.API == "" && p.has(within+name) {
				d.API = within + name
			}
		}
	}
	for _, up := range p.ancestors() {
		if name := path.Join(up, "docs/target.schema.json"); d.JSONSchema == "" && p.has(name) {
			d.JSONSchema = name
		}
	}
	p.services(&d)
	return d, nil
}

// mostSeed is how long a file of rows may be to be copied into a target file, in bytes.
const mostSeed = 8 << 10

// nameOf makes the name of a scenario of a directory's.
func nameOf(base string) string {
	name := strings.Trim(strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || r < ' ' || r == '\uFFFD' {
			return '-'
		}
		return r
	}, base), "-. ")
	if name == "" {
		return "application"
	}
	return name
}

// project is a directory with an application in it.
type project struct {
	dir     string
	above   int               // how many directories above it belong to the same repository
	sources map[string]string // texts of the files that may say something, by path
}

// above returns how many directories there are from one up to the one with .git; 0 where there is none.
func above(dir string) int {
	for n := 0; n < 8; n++ {
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
			return n
		}
		dir = filepath.Dir(dir)
	}
	return 0
}

// ancestors returns the project's directory and those above it, as paths from it.
func (p project) ancestors() []string {
	all := []string{"."}
	for n := 1; n <= p.above; n++ {
		all = append(all, strings.TrimSuffix(strings.Repeat("../", n), "/"))
	}
	return all
}

// mostText is how much of one file is read, in bytes.
const mostText = 256 << 10

// text returns what a file holds; empty where it is not there, or too long to have been written by hand.
func (p project) text(name string) string {
	full := filepath.Join(p.dir, filepath.FromSlash(name))
	info, err := os.Stat(full)
	if err != nil || !info.Mode().IsRegular() || info.Size() > mostText {
		return ""
	}
	text, err := os.ReadFile(full)
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(strings.ReplaceAll(string(text), "\r\n", "\n"), "\uFFFD")
}

func (p project) has(name string) bool {
	info, err := os.Stat(filepath.Join(p.dir, filepath.FromSlash(name)))
	return err == nil && !info.IsDir()
}

var (
	sourceEndings = []string{
		".go", ".ts", ".js", ".mjs", ".cjs", ".py", ".rb", ".java", ".kt", ".properties", ".yml", ".yaml", ".php", ".ex", ".exs", ".rs", ".cs",
	}
	notSources = []string{"node_modules", "vendor", "dist", "build", "target", "tmp", "log", "venv", "__pycache__", "testdata", "interlock-out"}
)

// mostSources is how many files are looked into.
const mostSources = 2000

// read reads the sources, as far as they may say something.
func (p *project) read() {
	p.sources = map[string]string{}
	// What cannot be read says nothing.
	_ = filepath.WalkDir(p.dir, func(full string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(p.dir, full)
		name = filepath.ToSlash(name)
		switch {
		case err != nil:
			return fs.SkipDir
		case entry.IsDir() && name != "." && (strings.HasPrefix(entry.Name(), ".") || slices.Contains(notSources, entry.Name())):
			return fs.SkipDir
		case len(p.sources) == mostSources:
			return fs.SkipAll
		case entry.Type().IsRegular() && slices.Contains(sourceEndings, path.Ext(name)) && !strings.HasSuffix(name, "_test.go"):
			p.sources[name] = p.text(name)
		}
		return nil
	})
}

// mentions reports whether a source has a word.
func (p project) mentions(word string) bool {
	form := regexp.MustCompile(`\b` + regexp.QuoteMeta(word) + `\b`)
	for _, text := range p.sources {
		if strings.Contains(text, word) && form.MatchString(text) {
			return true
		}
	}
	return false
}

// directories that migrations are usually in, the surest first.
var migrationDirectories = []string{
	"prisma/migrations", "src/main/resources/db/migration", "migrations", "db/migrations", "db/migration", "database/migrations", "sql/migrations",
	"migrations/sql", "sql", "drizzle", "src/migrations", "internal/migrations", "schema/migrations",
}

// tables finds where the tables come from.
func (p project) tables(d *Draft) {
	for _, up := range p.ancestors() {
		for _, name := range migrationDirectories {
			at := path.Join(up, name)
			set, err := migrations.Open(filepath.Join(p.dir, filepath.FromSlash(at)), "")
			if err == nil && len(set.Migrations) > 0 {
				d.Migrations, d.Layout, d.SchemaFile = at, set.Layout, ""
				return
			}
		}
		for _, name := range []string{"db/structure.sql", "schema.sql", "db/schema.sql", "sql/schema.sql", "structure.sql", "database/schema.sql"} {
			if at := path.Join(up, name); p.has(at) {
				d.SchemaFile = at
				return
			}
		}
	}
	d.SchemaFile = cmp.Or(d.SchemaFile, "schema.sql")
	d.Notes = append(d.Notes, cmp.Or(d.missing,
		"there are no migrations in SQL: pg_dump --schema-only --no-owner DATABASE > schema.sql makes the file that is named")+
		"; or database: {template: DATABASE} takes that as it is, with --postgres DSN")
}

var healthForm = regexp.MustCompile("[\"'`](?:GET )?(/(?:api/)?(?:healthz|health|readyz|ready|livez|up|ping))/?[\"'`]")

// readyPath returns the path that a health check in the sources answers; empty: there is none.
func (p project) readyPath() string {
	var found []string
	for _, text := range p.sources {
		for _, match := range healthForm.FindAllStringSubmatch(text, -1) {
			found = append(found, match[1])
		}
	}
	return bestReady(found)
}

// bestReady returns the path that most likely says whether the application is ready.
func bestReady(paths []string) string {
	for _, name := range []string{"readyz", "ready", "healthz", "health", "livez", "up", "ping"} {
		for _, prefix := range []string{"/", "/api/"} {
			if slices.Contains(paths, prefix+name) {
				return prefix + name
			}
		}
	}
	return ""
}

// services notes what a compose file starts beside the application.
func (p project) services(d *Draft) {
	for _, name := range []string{"compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"} {
		var compose struct {
			Services map[string]any `yaml:"services"`
		}
		text := p.text(name)
		if text == "" || decodeYAML(text, &compose) != nil || len(compose.Services) == 0 {
			continue
		}
		var names []string
		for service := range compose.Services {
			names = append(names, comment(service))
		}
		slices.Sort(names)
		d.Notes = append(d.Notes, fmt.Sprintf("%s has the services %s: Interlock brings the Postgres, what else the application needs has to run already",
			name, strings.Join(names, ", ")))
		return
	}
}

// decodeYAML calls go-yaml, which panics on some texts that are no YAML.
func decodeYAML(text string, into any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("no YAML: %v", p)
		}
	}()
	return yaml.Unmarshal([]byte(text), into)
}
