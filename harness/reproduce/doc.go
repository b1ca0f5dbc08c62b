// Package reproduce writes a recorded race for other tools: as a script for psql in several terminals, as an isolation spec of PostgreSQL's own,
// as a Go test. What it writes stands alone; it needs no Interlock but for the Go test.
package reproduce
