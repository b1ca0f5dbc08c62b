package draft

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// shellForm is what a command has in it that only a shell understands.
var shellForm = regexp.MustCompile("[|&;<>$`\"'\\\\()*?~#]|^\\S+=|^(cd|export|source) ")

// commandOf takes a line apart, or gives it to a shell if it needs one.
func commandOf(line string) []string {
	if shellForm.MatchString(line) {
		return []string{"/bin/sh", "-c", line}
	}
	return strings.Fields(line)
}

// node knows package.json.
func node(p project, d *Draft) bool {
	var about struct {
		Main            string            `json:"main"`
		Scripts         map[string]string `json:"scripts"`
		Dependencies    map[string]string `json:"dependencies"`
		DevDependencies map[string]string `json:"devDependencies"`
	}
	if json.Unmarshal([]byte(p.text("package.json")), &about) != nil || about.Scripts["start"] == "" && about.Main == "" {
		return false
	}
	manager := "npm"
	for _, other := range []string{"pnpm", "yarn"} {
		if p.has(other+"-lock.yaml") || p.has(other+".lock") {
			manager = other
		}
	}
	if about.Scripts["build"] != "" {
		d.Build = []string{manager, "run", "build"}
	} else if prisma := about.Dependencies["@prisma/client"]; prisma != "" {
		d.Build = []string{"npx", "prisma", "generate"}
	}
	switch start := about.Scripts["start"]; {
	case strings.HasPrefix(start, "node ") && !shellForm.MatchString(start):
		d.Command = strings.Fields(start) // npm would only stand in between
	case start != "":
		d.Command = []string{manager, "start"}
	default:
		d.Command = []string{"node", about.Main}
	}
	return true
}

var wsgiForm = regexp.MustCompile(`^([A-Za-z_]\w*)/(wsgi|asgi)\.py$`)

// requirements returns what a Python project says it needs.
func (p project) requirements() string {
	return strings.ToLower(p.text("requirements.txt") + p.text("requirements/base.txt") + p.text("pyproject.toml") + p.text("Pipfile"))
}

// django knows manage.py.
func django(p project, d *Draft) bool {
	if !p.has("manage.py") {
		return false
	}
	d.Command = []string{"python3", "manage.py", "runserver", "--noreload", "127.0.0.1:{{port}}"}
	for name := range p.sources {
		if match := wsgiForm.FindStringSubmatch(name); match != nil && match[2] == "wsgi" && strings.Contains(p.requirements(), "gunicorn") {
			d.Command = []string{"gunicorn", "--bind", "127.0.0.1:{{port}}", "--threads", "4", match[1] + ".wsgi"}
		}
	}
	d.missing = "Django's migrations are no SQL: manage.py migrate into an empty database, and pg_dump --schema-only --no-owner of that, " +
		"make the schema.sql that is named"
	return true
}

var appForm = regexp.MustCompile(`(?m)^(\w+)\s*(?::\s*\w+\s*)?=\s*(FastAPI|Starlette|Flask)\(`)

// python knows ASGI and WSGI applications.
func python(p project, d *Draft) bool {
	for _, name := range []string{"main.py", "app.py", "app/main.py", "src/main.py", "app/__init__.py", "wsgi.py"} {
		match := appForm.FindStringSubmatch(p.text(name))
		if match == nil {
			continue
		}
		module := strings.ReplaceAll(strings.TrimSuffix(strings.TrimSuffix(name, ".py"), "/__init__"), "/", ".")
		if match[2] == "Flask" {
			d.Command = []string{"flask", "--app", module + ":" + match[1], "run", "--host", "127.0.0.1", "--port", "{{port}}"}
		} else {
			d.Command = []string{"uvicorn", module + ":" + match[1], "--host", "127.0.0.1", "--port", "{{port}}"}
		}
		return true
	}
	return false
}

// rails knows bin/rails.
func rails(p project, d *Draft) bool {
	if !p.has("Gemfile") || !p.has("config/application.rb") && !p.has("bin/rails") {
		return false
	}
	d.Build = []string{"bundle", "install"}
	d.Command = []string{"bundle", "exec", "rails", "server", "--binding", "127.0.0.1", "--port", "{{port}}", "--pid", "tmp/interlock.pid"}
	d.set("RAILS_ENV", "test")
	d.set("RAILS_MAX_THREADS", "5")
	if strings.Contains(p.text("config/routes.rb"), "rails_health_check") {
		d.Ready = "/up"
	}
	d.SchemaFile = "db/structure.sql"
	d.missing = "Rails' migrations are no SQL: with config.active_record.schema_format = :sql, bin/rails db:schema:dump writes the " +
		"db/structure.sql that is named"
	return true
}

var (
	parentForm   = regexp.MustCompile(`(?s)<parent>.*?</parent>|<dependencies>.*?</dependencies>|<build>.*?</build>|<plugins>.*?</plugins>`)
	artifactForm = regexp.MustCompile(`<artifactId>\s*([\w.-]+)\s*</artifactId>`)
	versionForm  = regexp.MustCompile(`<version>\s*([\w.-]+)\s*</version>`)
	gradleName   = regexp.MustCompile(`rootProject\.name\s*=\s*['"]([\w.-]+)['"]`)
	gradleForm   = regexp.MustCompile(`(?m)^\s*version\s*=?\s*['"]([\w.-]+)['"]`)
)

// group returns the first group of a form in a text, or something else where it is not in it.
func group(form *regexp.Regexp, text, otherwise string) string {
	if match := form.FindStringSubmatch(text); match != nil {
		return match[1]
	}
	return otherwise
}

// spring knows Spring Boot, built by Maven or Gradle.
func spring(p project, d *Draft) bool {
	pom := p.text("pom.xml")
	gradle := p.text("build.gradle") + p.text("build.gradle.kts")
	about := pom + gradle
	tool := func(wrapper, otherwise string) string {
		if p.has(wrapper) {
			return "./" + wrapper
		}
		return otherwise
	}
	switch {
	case pom != "":
		own := parentForm.ReplaceAllString(pom, "")
		jar := group(artifactForm, own, "app") + "-" + group(versionForm, own, "0.0.1-SNAPSHOT") + ".jar"
		d.Build = []string{tool("mvnw", "mvn"), "-q", "-DskipTests", "package"}
		d.Command = []string{"java", "-jar", "target/" + jar}
	case gradle != "":
		name := group(gradleName, p.text("settings.gradle")+p.text("settings.gradle.kts"), d.Name)
		jar := name
		if version := group(gradleForm, gradle, ""); version != "" {
			jar += "-" + version
		}
		d.Build = []string{tool("gradlew", "gradle"), "-q", "bootJar"}
		d.Command = []string{"java", "-jar", "build/libs/" + jar + ".jar"}
	default:
		return false
	}
	d.set("SPRING_DATASOURCE_URL", jdbcForm)
	d.set("SPRING_DATASOURCE_USERNAME", "{{proxy_user}}")
	d.set("SPRING_DATASOURCE_PASSWORD", "{{proxy_password}}")
	d.set("SERVER_PORT", "{{port}}")
	if strings.Contains(about, "flyway") {
		d.set("SPRING_FLYWAY_ENABLED", "false") // the tables are there already, and Flyway's ledger is not
	}
	if strings.Contains(about, "starter-actuator") {
		d.Ready = "/actuator/health"
	}
	return true
}

var (
	moduleForm  = regexp.MustCompile(`(?m)^module\s+(\S+)`)
	packageForm = regexp.MustCompile(`(?m)^package main$`)
)

// golang knows Go's main packages.
func golang(p project, d *Draft) bool {
	var module string
	for _, up := range p.ancestors() {
		if module = group(moduleForm, p.text(path.Join(up, "go.mod")), ""); module != "" {
			if strings.Contains(p.text(path.Join(up, "go.mod")), "jackc/pgx") {
				d.Pings = append(d.Pings, "^-- ping") // of pgx's pool
			}
			break
		}
	}
	if module == "" {
		return false
	}
	var mains []string
	for name, text := range p.sources {
		if path.Ext(name) == ".go" && packageForm.MatchString(text) {
			mains = append(mains, path.Dir(name))
		}
	}
	slices.Sort(mains)
	mains = slices.Compact(mains)
	if len(mains) == 0 {
		return false
	}
	base, _ := filepath.Abs(p.dir) // Look has made it absolute before
	best := mains[0]
	for _, name := range []string{".", "cmd/" + filepath.Base(base), "cmd/" + path.Base(module), "cmd/server", "cmd/api", "cmd/web", "cmd/app"} {
		if slices.Contains(mains, name) {
			best = name
			break
		}
	}
	binary, from := "bin/"+path.Base(best), "./"+best
	if best == "." {
		binary, from = "bin/"+nameOf(filepath.Base(base)), "."
	}
	d.Build = []string{"go", "build", "-o", binary, from}
	d.Command = []string{binary}
	return true
}

var webForm = regexp.MustCompile(`(?m)^web:[ \t]*(\S.*?)[ \t]*$`)

// procfile knows the line that says web.
func procfile(p project, d *Draft) bool {
	line := group(webForm, p.text("Procfile"), "")
	if line == "" {
		return false
	}
	d.Command = commandOf(line)
	if info, err := os.Stat(filepath.Join(p.dir, "Gemfile")); err == nil && info.Mode().IsRegular() {
		d.Build = []string{"bundle", "install"}
	}
	return true
}
