package load

import "strconv"

// Settings are those of a server of ours that something is measured on, on top of [server.TestSettings]: it commits, cleans up and waits for locks as a
// production server does. It still keeps its data in memory where it can, so the disk is not measured.
func Settings(connections int) map[string]string {
	return map[string]string{
		"max_connections":    strconv.Itoa(max(connections+8, 120)),
		"shared_buffers":     "256MB",
		"synchronous_commit": "on",
		"full_page_writes":   "on",
		"autovacuum":         "on",
		"deadlock_timeout":   "1s",
		"log_lock_waits":     "off",
	}
}
