package load

import "time"

// Impatient returns the configuration with less time for clients that do not end, and for a server that does not serve when all is over.
func (c Config) Impatient(hang, patience time.Duration) Config {
	c.hang, c.patience = hang, patience
	return c
}
