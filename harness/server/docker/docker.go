// Package docker runs a Postgres in a container, by way of testcontainers.
//
// It uses none of the wait strategies and no reaper: see package container for why neither is needed.
package docker

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path"
	"strconv"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"

	docker "github.com/moby/moby/api/types/container"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/internal/container"
)

// Provider runs a server from the official image, or another one built on it.
type Provider struct{}

// Name returns "docker".
func (Provider) Name() string { return "docker" }

// Start runs a server of the version that config wants, from an image that the daemon has, or else pulls.
func (p Provider) Start(ctx context.Context, config server.Config) (*server.Server, error) {
	started := time.Now()
	configure()
	library := testcontainers.ReadConfig().Config
	daemon, err := container.Daemon(ctx, p.Name(), library.TestcontainersHost)
	if err != nil {
		return nil, err
	}
	if library.HubImageNamePrefix != "" && config.Image == "" {
		config.Image = path.Join(library.HubImageNamePrefix, container.DefaultImage(config.Version))
	}
	provider, err := testcontainers.NewDockerProvider(testcontainers.WithLogger(log.NewNoopLogger()))
	if err != nil {
		return nil, &server.UnavailableError{
			Provider: p.Name(), Why: "testcontainers cannot use the daemon at " + daemon, Err: err,
			Try: "docker info",
		}
	}
	return container.Start(ctx, p.Name(), started, daemon, &engine{DockerProvider: provider}, config)
}

// configure switches off, once in a process, what testcontainers would do for all: its reaper, a container that it would have to pull, for
// which there is no other switch than the environment when it is first read, and its banner on standard error. Whoever has set the switch is
// left with it, and so is a program that has used testcontainers itself before.
var configure = sync.OnceFunc(func() {
	const reaper = "TESTCONTAINERS_RYUK_DISABLED"
	if _, set := os.LookupEnv(reaper); !set {
		os.Setenv(reaper, "true")
		defer os.Unsetenv(reaper)
	}
	testcontainers.ReadConfig()
	if log.Default() == initialLogger {
		log.SetDefault(log.NewNoopLogger())
	}
})

var initialLogger = log.Default()

// engine is what package container needs of testcontainers, and for what that does not cover, of its client.
type engine struct {
	*testcontainers.DockerProvider
	container testcontainers.Container
}

func (e *engine) Images(ctx context.Context, repository string) ([]string, error) {
	list, err := e.Client().ImageList(ctx, client.ImageListOptions{Filters: client.Filters{}.Add("reference", repository)})
	var names []string
	for _, image := range list.Items {
		names = append(names, image.RepoTags...)
	}
	return names, err
}

func (e *engine) Has(ctx context.Context, image string) (bool, error) {
	_, err := e.Client().ImageInspect(ctx, image)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// Pull is not left to testcontainers, which tries for a quarter of an hour where there is no network.
func (e *engine) Pull(ctx context.Context, image string) error {
	var options client.ImagePullOptions
	if _, auth, err := testcontainers.DockerImageAuth(ctx, image); err == nil { // otherwise nobody has logged in
		if options.RegistryAuth, err = authconfig.Encode(auth); err != nil {
			return fmt.Errorf("credentials for %s: %w", image, err)
		}
	}
	pull, err := e.Client().ImagePull(ctx, image, options)
	if err != nil {
		return err
	}
	return pull.Wait(ctx)
}

func (e *engine) Create(ctx context.Context, spec container.Spec) (id string, err error) {
	port := strconv.Itoa(container.Port) + "/tcp"
	tmpfs := map[string]string{}
	for _, dir := range spec.Tmpfs {
		tmpfs[dir] = ""
	}
	e.container, err = e.CreateContainer(ctx, testcontainers.ContainerRequest{
		Name:         spec.Name,
		Image:        spec.Image,
		Entrypoint:   spec.Entrypoint,
		Cmd:          spec.Command,
		Env:          spec.Env,
		Labels:       spec.Labels,
		Tmpfs:        tmpfs,
		ExposedPorts: []string{port},
		ConfigModifier: func(c *docker.Config) {
			c.AttachStdin, c.AttachStdout, c.AttachStderr = true, true, true
			c.OpenStdin, c.StdinOnce = true, true
		},
		HostConfigModifier: func(h *docker.HostConfig) {
			h.AutoRemove, h.ShmSize = true, spec.ShmSize
			if ip, err := netip.ParseAddr(spec.HostIP); err == nil {
				h.PortBindings = network.PortMap{network.MustParsePort(port): {{HostIP: ip}}}
			}
		},
	})
	if err != nil {
		return "", err
	}
	return e.container.GetContainerID(), nil
}

func (e *engine) Attach(ctx context.Context, id string, in io.Reader, out io.Writer) (container.Attachment, error) {
	attached, err := e.Client().ContainerAttach(ctx, id, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return container.Attachment{}, err
	}
	go func() { // until in ends, which whoever attaches sees to
		io.Copy(attached.Conn, in) //nolint:errcheck // the connection is gone, and the output as well
		attached.CloseWrite()      //nolint:errcheck // as above
	}()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer attached.Close()
		stdcopy.StdCopy(out, out, attached.Reader) //nolint:errcheck // whatever ends it, it has ended
	}()
	return container.Attachment{Ended: ended, Detach: attached.Close}, nil
}

func (e *engine) Start(ctx context.Context, _ string) error { return e.container.Start(ctx) }

func (e *engine) Network(ctx context.Context, id string) (container.Network, error) {
	result, err := e.Client().ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return container.Network{}, err
	}
	var n container.Network
	settings := result.Container.NetworkSettings
	for port, bindings := range settings.Ports {
		for _, b := range bindings {
			if number, err := strconv.ParseUint(b.HostPort, 10, 16); err == nil && port.Num() == container.Port {
				n.HostPort = uint16(number)
			}
		}
	}
	for _, endpoint := range settings.Networks {
		n.IP, n.Gateway = text(endpoint.IPAddress), text(endpoint.Gateway)
	}
	return n, nil
}

func (e *engine) Remove(ctx context.Context, id string) (bool, error) {
	_, err := e.Client().ContainerRemove(ctx, id, client.ContainerRemoveOptions{RemoveVolumes: true, Force: true})
	if errdefs.IsNotFound(err) {
		return true, nil
	}
	return err == nil, err
}

func (e *engine) Leftovers(ctx context.Context, label string, before time.Time) ([]string, error) {
	filters := client.Filters{}.Add("label", label).Add("status", "created", "exited", "dead")
	list, err := e.Client().ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filters})
	var ids []string
	for _, c := range list.Items {
		if time.Unix(c.Created, 0).Before(before) {
			ids = append(ids, c.ID)
		}
	}
	return ids, err
}

// text returns an address as text, and the one that is not valid, as an empty one.
func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
