// Package local runs a Postgres from binaries on this machine, in a fraction of a second, and sees to it that nothing of it is left.
//
// A cluster is initialised once for each installation and kept in the cache as one file. A start unpacks it into a private directory, in
// memory where there is room, and runs the server there, listening on a Unix socket in that directory and nowhere else.
//
// Between us and the server stands a small shell script (supervise.sh), which ends the server and removes the directory when a pipe from us
// closes: by [server.Server.Stop], or because this process has ended, be it by SIGKILL.
package local
