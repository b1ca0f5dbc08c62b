package draft

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/interlock-pg/interlock/migrations"
)

// Asker asks one question a line, with what it would answer itself in brackets.
type Asker struct {
	in  *bufio.Reader
	out io.Writer
}

// NewAsker returns one that reads answers from in and writes questions to out.
func NewAsker(in io.Reader, out io.Writer) *Asker {
	fmt.Fprintln(out, "Enter takes what is in brackets, - is nothing. Paths are relative to the application.")
	return &Asker{bufio.NewReader(in), out}
}

// ErrNoAnswer is what comes of a question when there is nobody to answer it any more.
var ErrNoAnswer = errors.New("the answers ended before the questions; nothing was written; try again, or --yes, which takes all defaults")

// question asks until take has nothing to say against the answer. An empty answer is otherwise; "-" is nothing at all.
func (a *Asker) question(text, otherwise string, take func(answer string) error) error {
	for {
		shown := otherwise
		if shown == "" {
			shown = "-"
		}
		fmt.Fprintf(a.out, "%s [%s] ", text, shown)
		line, err := a.in.ReadString('\n')
		if err != nil && line == "" {
			fmt.Fprintln(a.out)
			return ErrNoAnswer
		}
		answer := strings.TrimSpace(line)
		switch answer {
		case "":
			answer = otherwise
		case "-":
			answer = ""
		}
		if err := take(answer); err != nil {
			fmt.Fprintf(a.out, "  %v\n", err)
			continue
		}
		return nil
	}
}

// Ask goes through a draft of the project in a directory, and returns it as it was corrected.
func (a *Asker) Ask(d Draft, dir string) (Draft, error) {
	questions := []func() error{
		func() error {
			return a.question("What starts the application?", line(d.Command), func(answer string) error {
				if answer == "" {
					return errors.New("nothing can be raced that is not started; try a command, as node dist/server.js")
				}
				return takeCommand(answer, &d.Command)
			})
		},
		func() error {
			return a.question("What builds it before that?", line(d.Build), func(answer string) error { return takeCommand(answer, &d.Build) })
		},
		func() error { return a.tables(&d, dir) },
		func() error { return a.variables(&d) },
		func() error {
			otherwise := d.Ready
			if otherwise == "" {
				otherwise = "/"
			}
			return a.question("Which path is answered with 2xx when it is ready (/: any answer will do)?", otherwise, func(answer string) error {
				if err := checkPath(answer); answer != "" && err != nil {
					return err
				}
				if d.Ready = answer; answer == "/" {
					d.Ready = ""
				}
				return nil
			})
		},
		func() error {
			shown := ""
			if d.Rows != "" {
				shown = "as in the seed file"
			}
			return a.question("Which SQL puts in the rows that must be there before each run?", shown, func(answer string) error {
				if answer != shown || answer == "" {
					d.Rows = answer
				}
				return nil
			})
		},
	}
	for _, ask := range questions {
		if err := ask(); err != nil {
			return d, err
		}
	}
	return d, nil
}

// API asks for the OpenAPI file of the project in a directory, and reads it.
func (a *Asker) API(d Draft, dir string) (API, error) {
	var api API
	err := a.question("Which OpenAPI file describes its requests?", d.API, func(answer string) error {
		api = API{}
		if answer == "" {
			return nil
		}
		at := filepath.FromSlash(answer)
		if !filepath.IsAbs(at) {
			at = filepath.Join(dir, at)
		}
		var err error
		api, err = ReadAPI(at)
		return err
	})
	return api, err
}

// line writes a command as somebody would type it.
func line(command []string) string {
	if len(command) == 3 && command[0] == "/bin/sh" {
		return command[2]
	}
	return strings.Join(command, " ")
}

func takeCommand(answer string, into *[]string) error {
	if strings.Contains(strings.ReplaceAll(answer, "{{port}}", ""), "{{") {
		return errors.New("{{port}} is the only name that a command needs; try the others in the environment")
	}
	if answer != line(*into) {
		*into = commandOf(answer)
	}
	return nil
}

// tables asks where the tables come from, and looks there.
func (a *Asker) tables(d *Draft, dir string) error {
	otherwise := d.Migrations
	if otherwise == "" {
		otherwise = d.SchemaFile
	}
	return a.question("Which directory of migrations, or file of SQL, makes the tables?", otherwise, func(answer string) error {
		switch answer {
		case "":
			return errors.New("without tables there is no race; try a directory, or a file as pg_dump --schema-only writes it")
		case otherwise: // was looked at, or is to be written
			return nil
		}
		at := filepath.FromSlash(answer)
		if !filepath.IsAbs(at) {
			at = filepath.Join(dir, at)
		}
		if strings.HasSuffix(answer, ".sql") {
			d.Migrations, d.Layout, d.SchemaFile = "", "", filepath.ToSlash(answer)
			return nil
		}
		set, err := migrations.Open(at, "")
		if err != nil {
			return err
		}
		d.Migrations, d.Layout, d.SchemaFile = filepath.ToSlash(answer), set.Layout, ""
		return nil
	})
}

var variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// variables asks which variables lead to the database and the port, as far as that is one each.
func (a *Asker) variables(d *Draft) error {
	ask := func(text, value, full string) error {
		var name string
		for _, v := range d.Environment {
			if strings.Contains(v.Value, value) && name == "" {
				name = v.Name
			}
			if strings.HasPrefix(v.Value, full) {
				full = v.Value // with what the driver needs
			}
		}
		return a.question(text, name, func(answer string) error {
			switch {
			case answer == name:
			case answer == "" && value == "{{port}}":
				return errors.New("without one it would not be found; try PORT, or a command with {{port}} in it")
			case answer == "":
				return errors.New("without one it would go to another database; try DATABASE_URL, or what its configuration reads")
			case !variableForm.MatchString(answer):
				return fmt.Errorf("%q is no name of a variable; try DATABASE_URL or PORT", answer)
			default:
				d.Environment = without(d.Environment, value)
				d.set(answer, full)
			}
			return nil
		})
	}
	if err := ask("Which variable says where its Postgres is?", "{{proxy_", "{{proxy_url}}"); err != nil {
		return err
	}
	if strings.Contains(words(d.Command), "{{port}}") {
		return nil
	}
	return ask("Which variable says on which port it listens?", "{{port}}", "{{port}}")
}

// without returns the variables whose values do not name something.
func without(all []Variable, value string) (rest []Variable) {
	for _, v := range all {
		if !strings.Contains(v.Value, value) {
			rest = append(rest, v)
		}
	}
	return rest
}

func checkPath(path string) error {
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " #\\") || strings.HasPrefix(path, "//") {
		return fmt.Errorf("%q is no path; try what follows the host in a URL, as /api/things", path)
	}
	return nil
}

// Request asks for one request that two clients make at once.
func (a *Asker) Request() (Race, error) {
	method, path := "POST", ""
	err := a.question("Which request is to be raced, as POST /api/things?", "", func(answer string) error {
		var err error
		method, path, _, err = splitRequest(answer)
		return err
	})
	if err != nil {
		return Race{}, err
	}
	var body any
	err = a.question("What is its body, as JSON in one line?", "", func(answer string) error {
		body = nil
		if answer == "" {
			return nil
		}
		return readJSON(answer, &body)
	})
	return Same(method, path, body), err
}

func readJSON(text string, into *any) error {
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("this is no JSON: %w; try {\"name\": \"example\"}", err)
	}
	*into = newSampler().clean(*into, 0)
	return nil
}

var methodForm = regexp.MustCompile(`^[A-Z]+$`)

func splitRequest(text string) (method, path, body string, err error) {
	method, path, _ = strings.Cut(strings.TrimSpace(text), " ")
	path, body, _ = strings.Cut(strings.TrimSpace(path), " ")
	method = strings.ToUpper(method)
	switch {
	case path == "" || !methodForm.MatchString(method):
		err = fmt.Errorf("%q is no request; try POST /api/things", text)
	case strings.Contains(path, "{{"):
		err = errors.New("a value is put into the path by a generator, which the file can have later; try a path as it is")
	default:
		err = checkPath(path)
	}
	return method, path, strings.TrimSpace(body), err
}

// ParseRequest makes a race of a text as POST /api/things {"name": "example"}; of an operation of the API, if there is one, unless it has a body of
// its own.
func ParseRequest(text string, api API) (Race, []string, error) {
	method, path, written, err := splitRequest(text)
	if err != nil {
		return Race{}, nil, err
	}
	for _, p := range api.Proposals {
		if written == "" && p.Method == method && p.Path == path {
			return Pair(p, p), p.Notes, nil
		}
	}
	var body any
	if written != "" {
		if err := readJSON(written, &body); err != nil {
			return Race{}, nil, err
		}
	}
	if strings.Contains(path, "{") {
		return Race{}, nil, fmt.Errorf("the API has no %s %s; try a path without { and }", method, path)
	}
	return Same(method, path, body), nil, nil
}

// Same makes a race of two clients who ask for the same.
func Same(method, path string, body any) Race {
	one := []Request{{Method: method, Path: path, Body: body}}
	return Race{Clients: []Client{{"A", one}, {"B", one}}, Outcomes: outcomes(nil)}
}

// mostShown is how many proposals are listed.
const mostShown = 12

// Choose asks which of the proposals are to be raced: one, or two numbers for what A and what B does.
func (a *Asker) Choose(api API) (Race, []string, error) {
	shown := api.Proposals[:min(mostShown, len(api.Proposals))]
	fmt.Fprintln(a.out, "Requests that may race, the likeliest first:")
	for i, p := range shown {
		fmt.Fprintf(a.out, "%3d  %s: %s\n", i+1, comment(p.Title()), p.Why)
	}
	if more := len(api.Proposals) - len(shown); more > 0 {
		fmt.Fprintf(a.out, "     and %d more: --request 'METHOD /path' names one\n", more)
	}
	var race Race
	var notes []string
	err := a.question("Which do two clients make at once (one number, or two for one each)?", "1", func(answer string) error {
		fields := strings.FieldsFunc(answer, func(r rune) bool { return r == ' ' || r == ',' })
		var chosen []Proposal
		for _, field := range fields {
			n, err := strconv.Atoi(field)
			if err != nil || n < 1 || n > len(shown) {
				return fmt.Errorf("%q is none of them; try a number from 1 to %d", field, len(shown))
			}
			chosen = append(chosen, shown[n-1])
		}
		if len(chosen) < 1 || len(chosen) > 2 {
			return errors.New("one or two are raced; try 1, or 1 2")
		}
		race, notes = Pair(chosen[0], chosen[len(chosen)-1]), chosen[0].Notes
		if len(chosen) == 2 && fields[0] != fields[1] {
			notes = append(notes[:len(notes):len(notes)], chosen[1].Notes...)
		}
		return nil
	})
	return race, notes, err
}

// Rule asks for an invariant.
func (a *Asker) Rule(d *Draft) error {
	const otherwise = "nobody is told 500"
	return a.question("Which query returns the rows that must not be (beside: nobody is told 500)?", otherwise, func(answer string) error {
		if answer == otherwise {
			answer = ""
		}
		if first, _, _ := strings.Cut(strings.ToLower(answer), " "); answer != "" && first != "select" && first != "with" {
			return errors.New("that is no query; try select thing, count(*) from things group by thing having count(*) > 1")
		}
		d.Rule = strings.TrimSuffix(strings.TrimSpace(answer), ";")
		return nil
	})
}
