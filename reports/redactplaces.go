package reports

import (
	"regexp"
	"strings"
	"unicode"
)

var (
	address  = regexp.MustCompile(`(?s)^([A-Za-z][A-Za-z0-9+.-]*://)(?:.*@)?([^/?#@]*?)(:[0-9]+)?(/[^?#]*)?(?:[?#].*)?$`)
	pairs    = regexp.MustCompile(`(\w+)(\s*=\s*)(‹[0-9]+›|'(?:[^'\\]|\\.)*'|\S+)`)
	onHost   = regexp.MustCompile(`^(.+) on (.+?)(:[0-9]+)?$`)
	keywords = regexp.MustCompile(`^\s*` + pairs.String() + `(?:\s+` + pairs.String() + `)*\s*$`)
	official = regexp.MustCompile(`^postgres(:[\w.-]+)?$`)
)

// place hides the parts of a connection string, of what says where a server is, and of a directory. The user, the password and the options of a URL
// are left out.
func (r *redactor) place(s string) string {
	if part := address.FindStringSubmatch(s); part != nil {
		database := strings.TrimPrefix(part[4], "/")
		return part[1] + r.value(part[2]) + part[3] + part[4][:len(part[4])-len(database)] + r.value(database)
	}
	if keywords.MatchString(s) {
		return pairs.ReplaceAllStringFunc(s, func(pair string) string {
			part := pairs.FindStringSubmatch(pair)
			switch strings.ToLower(part[1]) {
			case "port", "sslmode", "connect_timeout":
				return pair
			}
			return part[1] + part[2] + r.value(strings.Trim(part[3], "'"))
		})
	}
	if part := onHost.FindStringSubmatch(s); part != nil {
		return r.value(part[1]) + " on " + r.value(part[2]) + part[3]
	}
	if official.MatchString(s) {
		return s
	}
	return r.value(s)
}

// file hides the directory of a file.
func (r *redactor) file(s string) string {
	at := strings.LastIndexAny(s, `/\`)
	if at < 0 || s[:at] == "." || s[:at] == "" {
		return s
	}
	return r.value(s[:at]) + s[at:]
}

// word hides what a word of a command has of places and values. The names of scenarios and defences stay.
func (r *redactor) word(s string) string {
	flag, value, given := strings.Cut(s, "=")
	named := !strings.ContainsFunc(s, func(c rune) bool { return unicode.IsSpace(c) || c == '\\' })
	for part := range strings.FieldsFuncSeq(s, func(c rune) bool { return c == ',' || c == '/' }) {
		named = named && r.names[part]
	}
	switch {
	case named:
		return s
	case given && strings.HasPrefix(flag, "-"):
		return flag + "=" + r.word(value)
	case address.MatchString(s), keywords.MatchString(s), connection.MatchString(s):
		return r.place(s)
	case strings.ContainsAny(s, `/\`) && !strings.ContainsAny(s, " \n\t'\""):
		return r.file(s)
	}
	return r.sentence(s)
}

var (
	connection = regexp.MustCompile(`^\s*(?:host|hostaddr|port|user|dbname|password|service|sslmode)\s*=`)
	argument   = regexp.MustCompile(`(?s)(?:'[^']*(?:'|$)|\\.|[^\s'])+`) // a word of a shell
	quoting    = regexp.MustCompile(`(?s)'([^']*)(?:'|$)|\\(.)`)
)

// command hides what a command has of places and values; what is no command of Interlock is SQL.
func (r *redactor) command(s string) string {
	if !strings.HasPrefix(s, "interlock ") {
		return r.derived(s)
	}
	return argument.ReplaceAllStringFunc(s, func(typed string) string {
		word := quoting.ReplaceAllString(typed, "$1$2")
		if hidden := r.word(word); hidden != word {
			return shell(hidden)
		}
		return typed
	})
}
