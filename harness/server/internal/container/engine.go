package container

import (
	"context"
	"io"
	"time"
)

// Engine is a client of a Docker daemon. It is used for one container.
type Engine interface {
	// Images returns the names, with their tags, of the images of a repository that the daemon has.
	Images(ctx context.Context, repository string) ([]string, error)

	// Has tells whether the daemon has the image.
	Has(ctx context.Context, image string) (bool, error)

	// Pull has the daemon fetch the image.
	Pull(ctx context.Context, image string) error

	// Create makes a container, without starting it, and returns its id.
	Create(ctx context.Context, spec Spec) (id string, err error)

	// Attach connects in to the standard input of the container, and its output to out. When it has returned, what becomes of ctx does not
	// matter.
	Attach(ctx context.Context, id string, in io.Reader, out io.Writer) (Attachment, error)

	// Start starts the container that was created.
	Start(ctx context.Context, id string) error

	// Network tells how a running container is reached. Here and below, the name of a container will do for its id.
	Network(ctx context.Context, id string) (Network, error)

	// Remove ends a container, removes it with its volumes, and tells whether it is gone: it is not when its removal has begun already.
	Remove(ctx context.Context, id string) (gone bool, err error)

	// Leftovers returns the ids of the containers with that label, made before a time, that have not been started, or have ended.
	Leftovers(ctx context.Context, label string, before time.Time) ([]string, error)

	// Close ends idle connections.
	Close() error
}

// Attachment is a connection to the input and output of a container.
type Attachment struct {
	Ended  <-chan struct{} // closed when there is no more output: the container has ended, or the connection has
	Detach func()          // ends the connection; called once
}

// Spec is what the daemon is to run, with a standard input that closes when we leave, and removal when it has ended.
type Spec struct {
	Name       string
	Image      string
	Entrypoint []string
	Command    []string
	Env        map[string]string
	Labels     map[string]string
	Tmpfs      []string // directories in memory
	ShmSize    int64    // of /dev/shm, bytes
	HostIP     string   // address of the host that the port is published on; empty: all
}

// Port is the one that the server in the container listens on.
const Port = 5432

// Network is how the port of a container can be reached. What is not known is zero.
type Network struct {
	HostPort uint16 // the port is published as this one
	IP       string // of the container
	Gateway  string // of its network, which is the host
}
