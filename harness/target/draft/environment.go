package draft

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// jdbcForm is where Postgres is in the way of JDBC, which has user and password beside it.
const jdbcForm = "jdbc:postgresql://{{proxy_host}}:{{proxy_port}}/{{proxy_database}}"

// Variables that usually say where Postgres is, where the application is to listen, and their parts.
var (
	urlNames = []string{
		"DATABASE_URL", "POSTGRES_URL", "POSTGRESQL_URL", "PG_URL", "DB_URL", "DATABASE_DSN", "POSTGRES_DSN", "DB_DSN", "PG_CONNECTION_STRING",
	}
	portNames = []string{"PORT", "HTTP_PORT", "SERVER_PORT", "APP_PORT", "API_PORT", "LISTEN_PORT"}
	addrNames = []string{"LISTEN_ADDR", "HTTP_ADDR", "SERVER_ADDR", "ADDR"}
	partForms = map[string]string{
		"HOST": "{{proxy_host}}", "PORT": "{{proxy_port}}", "USER": "{{proxy_user}}", "USERNAME": "{{proxy_user}}", "PASSWORD": "{{proxy_password}}",
		"PASS": "{{proxy_password}}", "DATABASE": "{{proxy_database}}", "NAME": "{{proxy_database}}", "DB": "{{proxy_database}}",
		"SSLMODE": "disable", "SSL_MODE": "disable",
	}
	partForm = regexp.MustCompile(`^(PG|DB_|POSTGRES_|DATABASE_|PG_)(HOST|PORT|USER|USERNAME|PASSWORD|PASS|DATABASE|NAME|DB|SSLMODE|SSL_MODE)$`)
)

// withoutTLS is the parameter of a URL that keeps a driver from insisting on TLS, which the proxy does not speak. lib/pq does, unless it is told; others
// need not be told.
const withoutTLS = "sslmode=disable"

// proxyURL is where Postgres is, with some parameters of an example's URL and those that the application's driver needs.
func (p project) proxyURL(parameters ...string) string {
	if !slices.Contains(parameters, withoutTLS) && p.insistsOnTLS() {
		parameters = append(parameters, withoutTLS)
	}
	if len(parameters) == 0 {
		return "{{proxy_url}}"
	}
	return "{{proxy_url}}?" + strings.Join(parameters, "&")
}

// insistsOnTLS reports whether the application uses lib/pq.
func (p project) insistsOnTLS() bool {
	for name, text := range p.sources {
		if path.Ext(name) == ".go" && strings.Contains(text, `"github.com/lib/pq"`) {
			return true
		}
	}
	return false
}

// databaseValue returns what a variable is to say so that it leads to the proxy, after what it says in an example. False: it is about something else.
func (p project) databaseValue(name, example string) (string, bool) {
	scheme, rest, isURL := strings.Cut(example, "://")
	switch {
	case strings.HasPrefix(example, "jdbc:postgresql:"):
		return jdbcForm, true
	case isURL && strings.HasPrefix(scheme, "postgres"):
		var parameters []string
		for _, match := range keptForm.FindAllStringSubmatch(rest, -1) {
			parameters = append(parameters, match[1])
		}
		value := p.proxyURL(parameters...)
		if scheme != "postgres" && scheme != "postgresql" { // as SQLAlchemy has it, with the driver
			value = strings.Replace(value, "{{proxy_url}}",
				scheme+"://{{proxy_user}}:{{proxy_password}}@{{proxy_host}}:{{proxy_port}}/{{proxy_database}}", 1)
		}
		return value, true
	case isURL: // of something else, or of another database
		return "", false
	case slices.Contains(urlNames, name):
		return p.proxyURL(), true
	case partForm.MatchString(name):
		return partForms[partForm.FindStringSubmatch(name)[2]], true
	}
	return "", false
}

var (
	keptForm = regexp.MustCompile(`[?&](schema=\w+|sslmode=disable)`) // parameters of an example's URL
	lineForm = regexp.MustCompile(`^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$`)
)

// example returns the variables of an example of the environment.
func example(text string) (variables []Variable) {
	for line := range strings.SplitSeq(text, "\n") {
		match := lineForm.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		value := match[2]
		if quote := value[:min(1, len(value))]; quote == `"` || quote == "'" {
			value, _, _ = strings.Cut(value[1:], quote)
		} else {
			value, _, _ = strings.Cut(value, " #")
		}
		variables = append(variables, Variable{match[1], strings.TrimSpace(value)})
	}
	return variables
}

// environment finds the variables that the application is started with.
func (p project) environment(d *Draft) {
	told, listens := len(d.Environment) > 0 && strings.Contains(mapping(d.Environment), "{{proxy_"), p.listens(d)
	for _, name := range []string{".env.example", ".env.sample", ".env.template", ".env.dist", "env.example", "example.env"} {
		variables := example(p.text(name))
		for _, v := range variables {
			value, database := p.databaseValue(v.Name, v.Value)
			switch {
			case d.sets(v.Name):
			case database:
				told = told || strings.Contains(value, "{{proxy_")
				d.set(v.Name, value)
			case slices.Contains(portNames, v.Name):
				listens = true
				d.set(v.Name, "{{port}}")
			case slices.Contains(addrNames, v.Name):
				listens = true
				d.set(v.Name, "127.0.0.1:{{port}}")
			case v.Value != "" && !strings.Contains(v.Value, "{{") && comment(v.Value) == v.Value:
				d.set(v.Name, v.Value)
			}
		}
		if len(variables) > 0 {
			break
		}
	}
	if !told {
		p.leadToDatabase(d)
	}
	if p.insistsOnTLS() && d.sets("PGHOST") {
		d.set("PGSSLMODE", "disable")
	}
	if listens || p.listens(d) {
		return
	}
	for _, name := range portNames {
		if p.mentions(name) {
			d.set(name, "{{port}}")
			return
		}
	}
	for _, name := range addrNames {
		if p.mentions(name) {
			d.set(name, "127.0.0.1:{{port}}")
			return
		}
	}
	d.set("PORT", "{{port}}")
}

// listens reports whether the application is told already where to listen.
func (p project) listens(d *Draft) bool {
	return strings.Contains(words(d.Command)+mapping(d.Environment), "{{port}}")
}

// leadToDatabase finds in the sources which variables say where Postgres is.
func (p project) leadToDatabase(d *Draft) {
	for _, name := range urlNames {
		if p.mentions(name) {
			d.set(name, p.proxyURL())
			return
		}
	}
	for _, prefix := range []string{"PG", "DB_", "POSTGRES_", "DATABASE_", "PG_"} {
		if !p.mentions(prefix + "HOST") {
			continue
		}
		for _, part := range []string{"HOST", "PORT", "USER", "USERNAME", "PASSWORD", "PASS", "DATABASE", "NAME", "DB", "SSLMODE", "SSL_MODE"} {
			if p.mentions(prefix + part) {
				d.set(prefix+part, partForms[part])
			}
		}
		return
	}
	d.set("DATABASE_URL", p.proxyURL())
}
