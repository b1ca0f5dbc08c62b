package migrations

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Layout is how a directory of migrations is laid out, which is to say: which tool it is written for.
type Layout string

// The layouts.
const (
	Goose         Layout = "goose"          // 001_name.sql, with "-- +goose Up" inside
	GolangMigrate Layout = "golang-migrate" // 1_name.up.sql and 1_name.down.sql
	Flyway        Layout = "flyway"         // V1_2__name.sql, U1_2__name.sql (undo), R__name.sql (repeatable, applied last); folders below too
	Prisma        Layout = "prisma"         // 20251110093000_name/migration.sql, in the order of the folders' names; down.sql or rollback.sql beside it
	Plain         Layout = "plain"          // *.sql, numbers within names compared as numbers; NAME.down.sql, NAME_rollback.sql; rollback.sql of the last
)

// Layouts returns the known layouts.
func Layouts() []Layout { return []Layout{Goose, GolangMigrate, Flyway, Prisma, Plain} }

// OpenError says why a directory could not be read as migrations.
type OpenError struct {
	Dir string
	Why string // what is wrong
	Try string // what to do about it
	Err error  // what stopped it, if there is more to say
}

func (e *OpenError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("migrations in %s: %s: %v; try %s", e.Dir, e.Why, e.Err, e.Try)
	}
	return fmt.Sprintf("migrations in %s: %s; try %s", e.Dir, e.Why, e.Try)
}

func (e *OpenError) Unwrap() error { return e.Err }

// entry is a file that a layout takes for one of its own.
type entry struct {
	path    string  // below the directory, with slashes
	ref     string  // the version as written
	version []int64 // its parts, zeros at the end left out, because to Flyway 1.0 is 1; none: it has no version
	name    string
	undo    bool // it reverts
	repeat  bool // Flyway's R
	sql     string
}

// reverts reports whether the file is for reverting another.
func (e entry) reverts(layout Layout, up entry) bool {
	switch {
	case layout == Prisma:
		return path.Dir(e.path) == path.Dir(up.path)
	case layout == Plain && (e.name != "" || len(e.version) == 0):
		return e.name == up.name && slices.Equal(e.version, up.version)
	default:
		return slices.Equal(e.version, up.version)
	}
}

// bare reports whether the file is called just rollback, or down: then it is for the last one.
func (e entry) bare() bool {
	return e.undo && path.Dir(e.path) == "." && e.name == "" && len(e.version) == 0
}

// rules are what tells a layout's files, and their order.
type rules struct {
	looks   string         // for people: what its files look like
	pattern *regexp.Regexp // of paths; its groups are version, name, undo and repeat
	compare func(a, b entry) int
	loose   bool // the tool goes by names: two with the same number are no mistake
}

var layouts = map[Layout]rules{
	Goose: {
		looks:   `001_name.sql with "-- +goose Up"`,
		pattern: regexp.MustCompile(`^(?P<version>\d+)_(?P<name>[^/]+)\.sql$`),
		compare: byVersion,
	},
	GolangMigrate: {
		looks:   "1_name.up.sql",
		pattern: regexp.MustCompile(`^(?P<version>\d+)_(?P<name>[^/]*)\.(?:up|(?P<undo>down))\.sql$`),
		compare: byVersion,
	},
	Flyway: {
		looks:   "V1__name.sql",
		pattern: regexp.MustCompile(`^(?:.*/)?(?:(?:V|B|(?P<undo>U))(?P<version>\d+(?:[._]\d+)*)|(?P<repeat>R))__(?P<name>[^/]+)\.sql$`),
		compare: byVersion,
	},
	Prisma: {
		looks:   "20251110093000_name/migration.sql",
		pattern: regexp.MustCompile(`^(?:(?P<version>\d+)_)?(?P<name>[^/]*)/(?:migration|(?P<undo>down|rollback))\.sql$`),
		compare: byFolder,
		loose:   true,
	},
	Plain: {
		looks:   "*.sql",
		pattern: regexp.MustCompile(`^(?P<version>\d+(?:\.\d+)*)?(?:[_. -]*(?P<name>[^/]*?))??(?P<undo>(?:^|[_.-])(?:down|rollback))?\.sql$`),
		compare: byNature,
	},
}

// parse takes a path apart, if it is one of these.
func (r rules) parse(file, sql string) (entry, bool) {
	m := r.pattern.FindStringSubmatch(file)
	if m == nil {
		return entry{}, false
	}
	group := func(name string) string {
		if i := r.pattern.SubexpIndex(name); i >= 0 {
			return m[i]
		}
		return ""
	}
	e := entry{path: file, name: group("name"), undo: group("undo") != "", repeat: group("repeat") != "", sql: sql}
	e.ref = cmp.Or(strings.ReplaceAll(group("version"), "_", "."), group("repeat"))
	if group("version") == "" {
		return e, true
	}
	for part := range strings.SplitSeq(e.ref, ".") {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			n = tooLong
		}
		e.version = append(e.version, n)
	}
	for len(e.version) > 1 && e.version[len(e.version)-1] == 0 {
		e.version = e.version[:len(e.version)-1]
	}
	return e, true
}

const tooLong = -1 // a number that does not fit in 63 bits

func byVersion(a, b entry) int {
	if a.repeat != b.repeat {
		if a.repeat {
			return 1
		}
		return -1
	}
	return cmp.Or(slices.Compare(a.version, b.version), strings.Compare(a.path, b.path))
}

func byFolder(a, b entry) int { return strings.Compare(path.Dir(a.path), path.Dir(b.path)) }

func byNature(a, b entry) int {
	return cmp.Or(natural(a.path, b.path), strings.Compare(a.path, b.path))
}

// natural compares texts with the numbers in them taken as numbers: 2 comes before 10.
func natural(a, b string) int {
	for a != "" && b != "" {
		na, nb := digits(a), digits(b)
		if na > 0 && nb > 0 {
			x, y := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
			if c := cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y)); c != 0 {
				return c
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits returns how many digits s begins with.
func digits(s string) int {
	if i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		return i
	}
	return len(s)
}

// Open reads the migrations in dir. An empty layout means: recognise it. The error is an [*OpenError].
//
// Hidden files, and whatever is not SQL, are passed over. Naming the layout also settles a directory that holds files of several: only those of
// the named one are taken.
func Open(dir string, layout Layout) (Set, error) {
	set, err := open(dir, layout)
	var why *OpenError
	if errors.As(err, &why) {
		why.Dir = dir
	}
	return set, err
}

func open(dir string, layout Layout) (Set, error) {
	if _, known := layouts[layout]; layout != "" && !known {
		var names []string
		for _, l := range Layouts() {
			names = append(names, string(l))
		}
		return Set{}, &OpenError{Why: fmt.Sprintf("unknown layout %q", layout), Try: "one of " + strings.Join(names, ", ")}
	}
	files, err := list(dir)
	if err != nil {
		return Set{}, err
	}
	found := sorted(files, layout)
	if layout == "" {
		if layout, err = only(found); err != nil {
			return Set{}, err
		}
	}
	entries := found[layout]
	if len(entries) == 0 {
		return Set{}, &OpenError{
			Why: fmt.Sprintf("no %s migrations in it, which look like %s", layout, layouts[layout].looks), Try: "no --layout, to have it recognised",
		}
	}
	for _, e := range entries {
		if why, try := unfit(layout, e); why != "" {
			return Set{}, &OpenError{Why: e.path + " " + why, Try: try}
		}
	}
	set := Set{Layout: layout, Dir: dir}
	if set.Migrations, err = arrange(layout, entries); err != nil {
		return Set{}, err
	}
	for i := range set.Migrations {
		m := &set.Migrations[i]
		m.Path = filepath.Join(dir, filepath.FromSlash(m.Path))
		if m.Undo != "" {
			m.Undo = filepath.Join(dir, filepath.FromSlash(m.Undo))
		}
	}
	return set, nil
}

// sorted sorts files, by path, into layouts: all into the one that is named, or each into its own.
func sorted(files map[string]string, layout Layout) map[Layout][]entry {
	found := map[Layout][]entry{}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		as := layout
		if as == "" {
			as = recognise(file, files[file])
		}
		if e, ok := layouts[as].parse(file, files[file]); ok {
			found[as] = append(found[as], e)
		}
	}
	ups := slices.ContainsFunc(found[GolangMigrate], func(e entry) bool { return !e.undo })
	if layout == "" && !ups && len(found[Plain]) > 0 { // NAME.down.sql is plain as well
		for _, e := range found[GolangMigrate] {
			if e, ok := layouts[Plain].parse(e.path, e.sql); ok {
				found[Plain] = append(found[Plain], e)
			}
		}
		delete(found, GolangMigrate)
	}
	return found
}

// only returns the one layout that there are files of.
func only(found map[Layout][]entry) (layout Layout, err error) {
	var seen, flags []string
	for _, l := range Layouts() {
		if len(found[l]) > 0 {
			layout = l
			seen = append(seen, fmt.Sprintf("%s (%s)", l, found[l][0].path))
			flags = append(flags, "--layout "+string(l))
		}
	}
	switch len(seen) {
	case 0:
		return "", &OpenError{Why: "no migrations in it", Try: "another directory; known are " + knownLooks()}
	case 1:
		return layout, nil
	default:
		return "", &OpenError{Why: "it mixes layouts: " + strings.Join(seen, ", "), Try: strings.Join(flags, " or ") + ", which takes only the files of that one"}
	}
}

// list reads the SQL files in and below a directory, hidden ones left out, by path.
func list(dir string) (map[string]string, error) {
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &OpenError{Why: "there is no such directory", Try: "another path; it is taken from where the command runs"}
	case err != nil:
		return nil, &OpenError{Why: "cannot look at it", Try: "whether this user may read it", Err: err}
	case !info.IsDir():
		return nil, &OpenError{Why: "it is a file, not a directory", Try: fmt.Sprintf("the directory that holds it, %s", filepath.Dir(dir))}
	}
	files, below := map[string]string{}, os.DirFS(dir)
	err := fs.WalkDir(below, ".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case file != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules"):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir() || path.Ext(file) != ".sql":
			return nil
		}
		sql, err := fs.ReadFile(below, file)
		files[file] = string(sql)
		return err
	})
	if err != nil {
		return nil, &OpenError{Why: "cannot read it", Try: "whether this user may read all of it", Err: err}
	}
	return files, nil
}

var gooseUp = regexp.MustCompile(`(?mi)^--+[ \t]*\+goose[ \t]+up[ \t\r]*$`)

// recognise tells a file's layout by its name and, where names are alike, by what it holds. Below the top, only Flyway and Prisma have files.
func recognise(file, sql string) Layout {
	for _, l := range []Layout{Flyway, Prisma, GolangMigrate} {
		if layouts[l].pattern.MatchString(file) {
			return l
		}
	}
	if gooseUp.MatchString(sql) && layouts[Goose].pattern.MatchString(file) {
		return Goose
	}
	return Plain // or nothing, if it lies below the top
}

// foreign are the marks of tools that are not supported, whose files hold both directions: running all of one would do and undo it.
var foreign = map[string]*regexp.Regexp{
	"dbmate":      regexp.MustCompile(`(?m)^--[ \t]*migrate:up`),
	"sql-migrate": regexp.MustCompile(`(?m)^--[ \t]*\+migrate[ \t]+Up`),
	"goose":       gooseUp,
}

// unfit says why a file cannot be applied, and what to do about it; nothing if it can.
func unfit(layout Layout, e entry) (why, try string) {
	switch {
	case strings.ContainsRune(e.sql, 0) || !utf8.ValidString(e.sql):
		return "is not UTF-8 text", "iconv -t UTF-8 on it"
	case layout == Flyway && strings.HasPrefix(path.Base(e.path), "B"):
		return "is a baseline migration, which is not supported", "the versioned migrations that it stands for"
	case slices.Contains(e.version, tooLong):
		return "has a version of more than 63 bits", "a shorter one"
	case layout == Goose && len(e.version) == 1 && e.version[0] == 0:
		return "has version 0, which goose keeps for itself", "to number from 1"
	}
	if layout == Plain {
		for _, tool := range slices.Sorted(maps.Keys(foreign)) {
			if !foreign[tool].MatchString(e.sql) {
				continue
			}
			if tool == "goose" {
				return "is written for goose", "--layout goose, and a name that begins with a version, as 001_" + e.path
			}
			return "is written for " + tool + ", which is not supported", "the statements that it applies in a file of their own, one file a migration"
		}
	}
	return "", ""
}

// arrange orders files, numbers them, and pairs each with the one that reverts it. The error is an [*OpenError].
func arrange(layout Layout, entries []entry) ([]Migration, error) {
	rule := layouts[layout]
	slices.SortFunc(entries, rule.compare)
	var ups, undos []entry
	for i, e := range entries {
		// A plain file called rollback is one that reverts only if there is another for it to revert.
		if e.undo && (layout != Plain || slices.ContainsFunc(entries, func(up entry) bool { return !up.undo && e.reverts(layout, up) }) ||
			e.bare() && i > 0) {
			undos = append(undos, e)
		} else {
			ups = append(ups, e)
		}
	}
	if len(ups) == 0 {
		return nil, &OpenError{Why: "it holds only files that revert, such as " + undos[0].path, Try: "the directory with the files that apply"}
	}
	whole := true // every version is one whole number, and they increase
	last := int64(-1)
	for i, e := range ups {
		if i > 0 && !rule.loose && !e.repeat && len(e.version) > 0 && slices.Equal(e.version, ups[i-1].version) {
			return nil, &OpenError{
				Why: fmt.Sprintf("%s and %s have the same version, %s", ups[i-1].path, e.path, cmp.Or(e.ref, "0")),
				Try: "to renumber the later one",
			}
		}
		switch {
		case e.repeat:
		case len(e.version) == 1 && e.version[0] > last:
			last = e.version[0]
		default:
			whole = false
		}
	}
	var out []Migration
	for i, e := range ups {
		m := Migration{Version: int64(i + 1), Ref: e.ref, Name: e.name, Path: e.path, Checksum: checksum(e.sql), SQL: e.sql}
		switch {
		case whole && !e.repeat:
			m.Version = e.version[0]
		case whole && i > 0:
			m.Version = out[i-1].Version + 1
		}
		if j := slices.IndexFunc(undos, func(u entry) bool { return u.reverts(layout, e) || u.bare() && i == len(ups)-1 }); j >= 0 && !e.repeat {
			m.Undo, m.UndoSQL = undos[j].path, undos[j].sql
		}
		out = append(out, m)
	}
	return out, nil
}

func knownLooks() string {
	var looks []string
	for _, l := range Layouts() {
		looks = append(looks, fmt.Sprintf("%s (%s)", l, layouts[l].looks))
	}
	return strings.Join(looks, ", ")
}
