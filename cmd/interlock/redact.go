package main

import "regexp"

var passwords = regexp.MustCompile(`(://[^:/@?\s]*:)[^@\s]+(@)|(\bpassword\s*=\s*)(?:'(?:[^'\\]|\\.)*'|[^\s&]+)()`)

// redact removes the passwords of connection strings from text.
func redact(text string) string { return passwords.ReplaceAllString(text, "${1}${3}xxxxx${2}${4}") }

// redactAll is redact for a command line.
func redactAll(args []string) []string {
	out := make([]string, len(args))
	for i, arg := range args {
		out[i] = redact(arg)
	}
	return out
}
