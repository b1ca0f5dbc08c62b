//go:build unix && !linux

package local

// memory returns a directory in memory; here there is none.
func memory() (dir string, ok bool) { return "", false }
