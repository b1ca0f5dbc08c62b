// Package deploy_test checks what the files of this directory, and the reference beside it, say against what they are about.
package deploy_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/interlock-pg/interlock/harness/monitor/settings"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m, func() error { return goleak.Find() }) }

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(text)
}

// documents reads a file of several YAML documents; a key that is there twice is an error.
func documents(t *testing.T, name string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for text := range strings.SplitSeq(read(t, name), "\n---\n") {
		var one map[string]any
		require.NoError(t, yaml.UnmarshalWithOptions([]byte(text), &one, yaml.Strict()), "%s:\n%s", name, text)
		all = append(all, one)
	}
	return all
}

// at returns what is under keys and indexes of a document.
func at(t *testing.T, in any, path ...any) any {
	t.Helper()
	for i, step := range path {
		switch step := step.(type) {
		case string:
			of, is := in.(map[string]any)
			require.True(t, is && of[step] != nil, "there is nothing at %v", path[:i+1])
			in = of[step]
		case int:
			of, is := in.([]any)
			require.True(t, is && len(of) > step, "there is nothing at %v", path[:i+1])
			in = of[step]
		}
	}
	return in
}

func TestTheImage(t *testing.T) {
	t.Parallel()
	stage, last := 0, map[string]string{}
	text := strings.ReplaceAll(read(t, "Dockerfile"), "\\\n", "")
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "", "#", "ARG", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "ENTRYPOINT", "CMD":
		case "FROM":
			stage++
			clear(last)
		default:
			t.Errorf("an instruction that nobody has thought about: %s", line)
		}
		last[word] = rest
		if stage == 1 && word == "RUN" && strings.Contains(rest, "go build") {
			require.Contains(t, rest, "CGO_ENABLED=0 go build -trimpath", "what is linked with a libc does not start where there is none")
		}
	}
	require.Equal(t, 2, stage)
	delete(last, "")
	delete(last, "#")
	require.Equal(t, map[string]string{
		"FROM": "${BASE}", "COPY": "--from=build --chown=65532:65532 /out/state /var/lib/interlock", "WORKDIR": "/var/lib/interlock",
		"USER": "65532:65532", "EXPOSE": "8080", "ENTRYPOINT": `["/interlock"]`, "CMD": `["serve"]`,
	}, last, "the last stage runs nothing, is not root, and has no shell")
}

// What serve.yaml names beside itself, the unit gives it.
func TestTheUnit(t *testing.T) {
	t.Parallel()
	unit := read(t, "interlock.service")
	given := []string{}
	for _, found := range regexp.MustCompile(`(?m)^LoadCredential=([^:\n]+):/etc/interlock/(.+)$`).FindAllStringSubmatch(unit, -1) {
		require.Equal(t, found[1], found[2])
		given = append(given, found[1])
	}
	for _, line := range []string{
		"ExecStart=/usr/local/bin/interlock serve --config %d/serve.yaml", "DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict",
		"CapabilityBoundingSet=", "Restart=on-failure", "MemoryMax=128M", "StateDirectory=interlock",
	} {
		require.Contains(t, "\n"+unit, "\n"+line+"\n")
	}
	s, err := settings.Load("serve.yaml")
	require.NoError(t, err)
	require.ElementsMatch(t, given, append(filesOf(s), "serve.yaml"))

	// So does what the file only proposes.
	proposed := strings.ReplaceAll(read(t, "serve.yaml"), "\n#", "\n")
	proposed = strings.Replace(proposed, " Say where people are told:\n", "", 1)
	s, err = settings.Parse("serve.yaml", []byte(proposed))
	require.NoError(t, err)
	require.NotNil(t, s.Notify)
	for _, name := range filesOf(s) {
		require.Contains(t, unit, "LoadCredential="+name+":/etc/interlock/"+name+"\n")
	}
}

// filesOf returns the files in which the settings say secrets are.
func filesOf(s *settings.Settings) []string {
	var all []string
	add := func(of settings.Secret) {
		if of.File != "" && !strings.Contains(of.File, "/") {
			all = append(all, of.File)
		}
	}
	add(s.Postgres)
	for _, token := range s.Tokens {
		add(token.Secret)
	}
	if s.Notify != nil {
		for _, d := range s.Notify.Destinations {
			add(d.URL)
			add(d.Secret)
		}
	}
	return all
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	kinds := map[string]map[string]any{}
	for _, one := range documents(t, "kubernetes.yaml") {
		kind := at(t, one, "kind").(string)
		require.Nil(t, kinds[kind])
		kinds[kind] = one
		require.Equal(t, "interlock", at(t, one, "metadata", "name"))
		require.Equal(t, map[string]string{
			"Secret": "v1", "ConfigMap": "v1", "Service": "v1", "Deployment": "apps/v1", "NetworkPolicy": "networking.k8s.io/v1", "PodDisruptionBudget": "policy/v1",
		}[kind], at(t, one, "apiVersion"), kind)
	}
	require.Len(t, kinds, 6)

	deployment := kinds["Deployment"]
	labels := at(t, deployment, "spec", "template", "metadata", "labels")
	for _, selector := range []any{
		at(t, deployment, "spec", "selector", "matchLabels"), at(t, kinds["Service"], "spec", "selector"),
		at(t, kinds["NetworkPolicy"], "spec", "podSelector", "matchLabels"), at(t, kinds["PodDisruptionBudget"], "spec", "selector", "matchLabels"),
	} {
		require.Equal(t, labels, selector)
	}
	require.Equal(t, "AlwaysAllow", at(t, kinds["PodDisruptionBudget"], "spec", "unhealthyPodEvictionPolicy"), "a node can be drained while the database is away")
	pod := at(t, deployment, "spec", "template", "spec")
	require.Equal(t, true, at(t, pod, "securityContext", "runAsNonRoot"))
	container := at(t, pod, "containers", 0)
	require.Equal(t, true, at(t, container, "securityContext", "readOnlyRootFilesystem"))
	require.Equal(t, false, at(t, container, "securityContext", "allowPrivilegeEscalation"))
	require.Equal(t, []any{"ALL"}, at(t, container, "securityContext", "capabilities", "drop"))
	require.Equal(t, "128Mi", at(t, container, "resources", "limits", "memory"))
	require.Equal(t, []any{"serve", "--config", "/etc/interlock/serve.yaml"}, at(t, container, "args"))
	require.Equal(t, "/healthz", at(t, container, "livenessProbe", "httpGet", "path"))
	require.Equal(t, "/readyz", at(t, container, "readinessProbe", "httpGet", "path"))
	port := at(t, container, "ports", 0, "name")
	for _, to := range []any{
		at(t, container, "livenessProbe", "httpGet", "port"), at(t, container, "readinessProbe", "httpGet", "port"),
		at(t, kinds["Service"], "spec", "ports", 0, "targetPort"), at(t, kinds["NetworkPolicy"], "spec", "ingress", 0, "ports", 0, "port"),
	} {
		require.Equal(t, port, to)
	}
	volumes := []any{}
	for _, v := range at(t, pod, "volumes").([]any) {
		volumes = append(volumes, at(t, v, "name"))
	}
	for _, mount := range at(t, container, "volumeMounts").([]any) {
		require.Contains(t, volumes, at(t, mount, "name"))
	}
	require.EqualValues(t, 0o440, at(t, pod, "volumes", 0, "projected", "defaultMode"))

	s, err := settings.Parse("serve.yaml", []byte(at(t, kinds["ConfigMap"], "data", "serve.yaml").(string)))
	require.NoError(t, err)
	require.Equal(t, ":8080", s.Listen)
	require.True(t, s.Public.Health, "a probe has no token")
	for _, name := range filesOf(s) {
		require.Equal(t, "", kinds["Secret"]["stringData"].(map[string]any)[name], "the example has no secrets, and names all")
	}
	require.Nil(t, s.Notify)

	// So does what the file only proposes.
	proposed := regexp.MustCompile(`(?m)^#(\S| )`).ReplaceAllString(at(t, kinds["ConfigMap"], "data", "serve.yaml").(string), "$1")
	proposed = regexp.MustCompile(`(?m)^ [A-Z].*`).ReplaceAllString(proposed, "")
	s, err = settings.Parse("serve.yaml", []byte(proposed))
	require.NoError(t, err, proposed)
	require.True(t, s.Notify.Outbox.Table && s.Notify.Outbox.File == "", "several share it")
	require.NotEqual(t, 1, at(t, deployment, "spec", "replicas"))
	for _, name := range filesOf(s) {
		require.Regexp(t, `(?m)^  (# )?`+name+`: ""`, read(t, "kubernetes.yaml"))
	}

	// What is there as a comment is what it would be.
	comment := regexp.MustCompile(`(?ms)^# apiVersion: monitoring.*`).FindString(read(t, "kubernetes.yaml"))
	var monitor map[string]any
	require.NoError(t, yaml.UnmarshalWithOptions([]byte(regexp.MustCompile(`(?m)^# `).ReplaceAllString(comment, "")), &monitor, yaml.Strict()))
	require.Equal(t, labels, at(t, monitor, "spec", "selector", "matchLabels"))
	require.Equal(t, at(t, kinds["Service"], "spec", "ports", 0, "name"), at(t, monitor, "spec", "endpoints", 0, "port"))
}
