package target

var (
	ReservePort = reservePort
	ReleasePort = releasePort
)

// IsReserved reports whether nobody else is given the port of an instance.
func IsReserved(in *Instance) bool {
	_, reserved := reserved.Load(in.port)
	return reserved
}
