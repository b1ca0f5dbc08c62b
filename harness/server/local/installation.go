package local

// Installation is a directory with the programs of a server.
type Installation struct {
	BinDir  string // absolute, links resolved
	Version string // as "15.18"
	Major   int    // as 15

	Downloaded bool // by Interlock, into its cache
}
