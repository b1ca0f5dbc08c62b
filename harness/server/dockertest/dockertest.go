// Package dockertest runs a Postgres in a container, by way of ory/dockertest.
//
// It does not use the library's Retry, which waits longer each time, nor its RunWithOptions, which cannot keep a standard input open: see
// package container for what that is good for.
package dockertest

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/ory/dockertest/v3"
	"github.com/ory/dockertest/v3/docker"

	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/internal/container"
)

// Provider runs a server from the official image, or another one built on it.
type Provider struct{}

// Name returns "dockertest".
func (Provider) Name() string { return "dockertest" }

// Start runs a server of the version that config wants, from an image that the daemon has, or else pulls.
func (p Provider) Start(ctx context.Context, config server.Config) (*server.Server, error) {
	started := time.Now()
	daemon, err := container.Daemon(ctx, p.Name(), "")
	if err != nil {
		return nil, err
	}
	pool, err := dockertest.NewPool(daemon)
	if err != nil {
		return nil, &server.UnavailableError{Provider: p.Name(), Why: "dockertest cannot use the daemon at " + daemon, Err: err, Try: "docker info"}
	}
	return container.Start(ctx, p.Name(), started, daemon, engine{pool.Client}, config)
}

// engine is what package container needs of the pool's client.
type engine struct{ client *docker.Client }

func (e engine) Images(ctx context.Context, repository string) ([]string, error) {
	images, err := e.client.ListImages(docker.ListImagesOptions{Filters: map[string][]string{"reference": {repository}}, Context: ctx})
	var names []string
	for _, image := range images {
		names = append(names, image.RepoTags...)
	}
	return names, err
}

func (e engine) Has(_ context.Context, image string) (bool, error) {
	_, err := e.client.InspectImage(image)
	if errors.Is(err, docker.ErrNoSuchImage) {
		return false, nil
	}
	return err == nil, err
}

func (e engine) Pull(ctx context.Context, image string) error {
	repository, tag := docker.ParseRepositoryTag(image)
	var auth docker.AuthConfiguration
	if known, err := docker.NewAuthConfigurationsFromDockerCfg(); err == nil { // otherwise nobody has logged in
		host, _, _ := strings.Cut(repository, "/")
		auth = known.Configs[host]
	}
	return e.client.PullImage(docker.PullImageOptions{Repository: repository, Tag: tag, OutputStream: io.Discard, Context: ctx}, auth)
}

func (e engine) Create(ctx context.Context, spec container.Spec) (string, error) {
	port := docker.Port(strconv.Itoa(container.Port) + "/tcp")
	var env []string
	for name, value := range spec.Env {
		env = append(env, name+"="+value)
	}
	tmpfs := map[string]string{}
	for _, dir := range spec.Tmpfs {
		tmpfs[dir] = ""
	}
	c, err := e.client.CreateContainer(docker.CreateContainerOptions{
		Name: spec.Name,
		Config: &docker.Config{
			Image:        spec.Image,
			Entrypoint:   spec.Entrypoint,
			Cmd:          spec.Command,
			Env:          env,
			Labels:       spec.Labels,
			ExposedPorts: map[docker.Port]struct{}{port: {}},
			AttachStdin:  true,
			AttachStdout: true,
			AttachStderr: true,
			OpenStdin:    true,
			StdinOnce:    true,
		},
		HostConfig: &docker.HostConfig{
			AutoRemove:   true,
			ShmSize:      spec.ShmSize,
			Tmpfs:        tmpfs,
			PortBindings: map[docker.Port][]docker.PortBinding{port: {{HostIP: spec.HostIP}}},
		},
		Context: ctx,
	})
	if err != nil {
		return "", err
	}
	return c.ID, nil
}

func (e engine) Attach(ctx context.Context, id string, in io.Reader, out io.Writer) (container.Attachment, error) {
	success := make(chan struct{})
	attached, err := e.client.AttachToContainerNonBlocking(docker.AttachToContainerOptions{
		Container: id, Stream: true, Stdin: true, Stdout: true, Stderr: true,
		InputStream: in, OutputStream: out, ErrorStream: out, Success: success,
	})
	if err != nil {
		return container.Attachment{}, err
	}
	detach := func() { attached.Close() }
	select {
	case <-success:
		close(success)
	case <-ctx.Done():
		go func() { <-success; close(success) }()
		detach()
		return container.Attachment{}, context.Cause(ctx)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		attached.Wait() //nolint:errcheck // whatever ends it, it has ended
	}()
	return container.Attachment{Ended: ended, Detach: detach}, nil
}

func (e engine) Start(ctx context.Context, id string) error {
	return e.client.StartContainerWithContext(id, nil, ctx)
}

func (e engine) Network(ctx context.Context, id string) (container.Network, error) {
	c, err := e.client.InspectContainerWithContext(id, ctx)
	if err != nil {
		return container.Network{}, err
	}
	var n container.Network
	for port, bindings := range c.NetworkSettings.Ports {
		for _, b := range bindings {
			if number, err := strconv.ParseUint(b.HostPort, 10, 16); err == nil && port.Port() == strconv.Itoa(container.Port) {
				n.HostPort = uint16(number)
			}
		}
	}
	for _, network := range c.NetworkSettings.Networks {
		n.IP, n.Gateway = network.IPAddress, network.Gateway
	}
	return n, nil
}

func (e engine) Remove(ctx context.Context, id string) (bool, error) {
	err := e.client.RemoveContainer(docker.RemoveContainerOptions{ID: id, RemoveVolumes: true, Force: true, Context: ctx})
	if none := new(docker.NoSuchContainer); errors.As(err, &none) {
		return true, nil
	}
	return err == nil, err
}

func (e engine) Leftovers(ctx context.Context, label string, before time.Time) ([]string, error) {
	filters := map[string][]string{"label": {label}, "status": {"created", "exited", "dead"}}
	list, err := e.client.ListContainers(docker.ListContainersOptions{All: true, Filters: filters, Context: ctx})
	var ids []string
	for _, c := range list {
		if time.Unix(c.Created, 0).Before(before) {
			ids = append(ids, c.ID)
		}
	}
	return ids, err
}

func (e engine) Close() error {
	e.client.HTTPClient.CloseIdleConnections()
	return nil
}
