package server

import "strings"

// IsTrouble reports whether a SQLSTATE says something of the server or the machine, and nothing of the statement: 08 (connections), 53 (no disk, no
// memory, too many connections), 57P (the server stops, or has been restarted), 58 (files that are missing or cannot be read, as of an extension) and XX
// (the server's own bugs, corrupt data).
func IsTrouble(sqlstate string) bool {
	for _, class := range []string{"08", "53", "57P", "58", "XX"} {
		if strings.HasPrefix(sqlstate, class) {
			return true
		}
	}
	return false
}
