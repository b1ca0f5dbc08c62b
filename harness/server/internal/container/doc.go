// Package container runs Postgres in a container that ends with this process. It is what the ways through Docker have in common: they
// bring an [Engine], by which this package talks to the daemon, and all else is here.
//
// The first process of the container is a small shell script (supervise.sh), whose standard input we hold open by being attached to it.
// The input closes when we stop the server, and when this process ends, be it by SIGKILL; the script then ends, and with it the container,
// which the daemon removes. So nothing has to clean up after us, such as the reaper container (ryuk) of testcontainers does.
package container
