package e2e_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/run/stack"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// maxImage bounds the size of the image, which holds one program.
const maxImage = 38 << 20

// built returns a stack that builds from root into a directory of the test.
func built(t *testing.T, root string) *stack.Stack {
	t.Helper()
	return stack.New(stack.Settings{Root: root, Dir: t.TempDir(), Out: io.Discard})
}

// otherCheckout returns a copy of the sources of the relay, with other modification times.
func otherCheckout(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, part := range []string{"go.mod", "go.sum", "relay", "localstack", "infra/Dockerfile"} {
		to := filepath.Join(root, part)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if output, err := exec.Command("cp", "-R", filepath.Join("..", "..", part), to).CombinedOutput(); err != nil {
			t.Fatalf("copy %s: %v: %s", part, err, output)
		}
	}
	return root
}

func sum(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(content))
}

func TestImageBinaryIsStaticAndReproducible(t *testing.T) {
	t.Parallel()
	other := otherCheckout(t)
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		image := stack.Image{Arch: arch, Version: "v1.2.3", Created: time.Unix(1790000000, 0)}
		var sums []string
		for _, root := range []string{"../..", other} {
			path, err := built(t, root).BuildImageBinary(t.Context(), image)
			if err != nil {
				t.Fatal(err)
			}
			sums = append(sums, sum(t, path))
			checkStatic(t, path, machine)
		}
		if sums[0] != sums[1] {
			t.Errorf("two builds for %s: %s, %s", arch, sums[0], sums[1])
		}
	}
}

func checkStatic(t *testing.T, path string, machine elf.Machine) {
	t.Helper()
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	libraries, err := file.ImportedLibraries()
	if err != nil || len(libraries) > 0 || file.Section(".interp") != nil || file.Machine != machine {
		t.Errorf("%s is for %s and needs %v: %v", path, file.Machine, libraries, err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > maxImage {
		t.Errorf("%s has %d bytes: %v", path, info.Size(), err)
	}
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, output)
	}
	return strings.TrimSpace(string(output))
}

// shippedRelay is the relay as it ships: in its image if there is a container engine, and otherwise
// the program of that image.
type shippedRelay struct {
	image   string // empty without a container engine
	program string
	name    string // of the container
}

func ship(t *testing.T) shippedRelay {
	t.Helper()
	s := built(t, "../..")
	if err := exec.CommandContext(t.Context(), "docker", "info").Run(); err != nil {
		path, err := s.BuildImageBinary(t.Context(), stack.Image{Version: "v1.2.3"})
		if err != nil {
			t.Fatal(err)
		}
		t.Log("there is no container engine: the program is tested alone")
		return shippedRelay{program: path}
	}
	name := "outbox-relay-test-" + strings.ToLower(rand.Text()[:8])
	out := shippedRelay{image: name + ":test", name: name}
	t.Cleanup(func() {
		_ = exec.CommandContext(context.Background(), "docker", "rm", "--force", name).Run()
		_ = exec.CommandContext(context.Background(), "docker", "rmi", "--force", out.image).Run()
	})
	if err := s.BuildImage(t.Context(), stack.Image{Tag: out.image, Version: "v1.2.3"}); err != nil {
		t.Fatal(err)
	}
	layers := docker(t, "image", "inspect", "--format", "{{.RootFS.Layers}}", out.image)
	second := buildImage(t, s, stack.Image{Version: "v1.2.3"})
	if again := docker(t, "image", "inspect", "--format", "{{.RootFS.Layers}}", second); again != layers {
		t.Errorf("two builds of the image hold %s and %s", layers, again)
	}
	if user := docker(t, "image", "inspect", "--format", "{{.Config.User}}", out.image); user != "65532:65532" {
		t.Errorf("the image runs as %q", user)
	}
	var size int
	if _, err := fmt.Sscan(docker(t, "image", "inspect", "--format", "{{.Size}}", out.image), &size); err != nil ||
		size > maxImage {
		t.Errorf("the image has %d bytes: %v", size, err)
	}
	return out
}

// buildImage builds an image under a unique tag, which the end of the test removes.
func buildImage(t *testing.T, s *stack.Stack, image stack.Image) string {
	t.Helper()
	image.Tag = "outbox-relay-test:" + strings.ToLower(rand.Text())
	t.Cleanup(func() { _ = exec.CommandContext(context.Background(), "docker", "rmi", "--force", image.Tag).Run() })
	if err := s.BuildImage(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	return image.Tag
}

func needEngine(t *testing.T) {
	t.Helper()
	if err := exec.CommandContext(t.Context(), "docker", "info").Run(); err != nil {
		t.Skip("there is no container engine")
	}
}

// The programs of these versions have the same size and modification time. BuildKit compares only
// these to decide whether it already has a file.
func TestImageHoldsTheBinaryOfItsBuild(t *testing.T) {
	t.Parallel()
	needEngine(t)
	first, other := built(t, "../.."), built(t, otherCheckout(t))
	for _, build := range []struct {
		checkout *stack.Stack
		version  string
	}{{first, "v1.2.3"}, {first, "v1.2.4"}, {other, "v9.9.9"}, {first, "v1.2.3"}} {
		image := buildImage(t, build.checkout, stack.Image{Version: build.version})
		if got := docker(t, "run", "--rm", image, "version"); got != build.version {
			t.Errorf("the image of %s holds %s", build.version, got)
		}
	}
}

// The version is that of no other test. BuildKit merges builds of one program that run at the same
// time, and then both have the modification time of one of them.
func TestImageIsReproducibleFromAnyCheckout(t *testing.T) {
	t.Parallel()
	needEngine(t)
	const version = "v3.2.1"
	checkouts := []*stack.Stack{built(t, "../.."), built(t, otherCheckout(t))}
	for _, arch := range []string{"amd64", "arm64"} {
		// the same program with another time
		earlier := buildImage(t, checkouts[0], stack.Image{Arch: arch, Version: version})
		var layers []string
		for _, checkout := range checkouts {
			image := buildImage(t, checkout,
				stack.Image{Arch: arch, Version: version, Created: time.Unix(1790000000, 0)})
			layers = append(layers, docker(t, "image", "inspect", "--format", "{{.Architecture}} {{.RootFS.Layers}}",
				image))
		}
		if layers[0] != layers[1] || !strings.HasPrefix(layers[0], arch+" [sha256:") {
			t.Errorf("the images for %s of two checkouts hold %s and %s", arch, layers[0], layers[1])
		}
		if docker(t, "image", "inspect", "--format", "{{.Architecture}} {{.RootFS.Layers}}", earlier) == layers[0] {
			t.Errorf("the image for %s holds its program with the time of an earlier build", arch)
		}
	}
}

// command returns a command of the relay in this environment. In a container, run alone sets the
// environment, and later commands share it.
func (s shippedRelay) command(env []string, args ...string) *exec.Cmd {
	if s.image == "" {
		cmd := exec.Command(s.program, args...)
		cmd.Env = env
		return cmd
	}
	if args[0] != "run" {
		return exec.Command("docker", append([]string{"exec", s.name, "/relay"}, args...)...)
	}
	all := []string{
		"run", "--name", s.name, "--network", "host", "--read-only", "--cap-drop", "ALL", "--security-opt",
		"no-new-privileges",
	}
	for _, variable := range env {
		all = append(all, "--env", variable)
	}
	return exec.Command("docker", append(append(all, s.image), args...)...)
}

func TestShippedRelayIsHealthyAndDrainsOnSIGTERM(t *testing.T) {
	t.Parallel()
	s := ship(t)
	w := newTestEnv(t, "orders.fifo")
	env := w.env("RELAY_LISTEN=" + freeAddress(t))
	p := w.launchCommand(s.command(env, "run"))
	p.awaitLog("event=streaming")
	for _, command := range []string{"healthcheck", "version"} {
		output, err := s.command(env, command).CombinedOutput()
		if err != nil || command == "version" && strings.TrimSpace(string(output)) != "v1.2.3" {
			t.Errorf("%s: %v: %s", command, err, output)
		}
	}
	if s.image != "" {
		if mode := docker(t, "inspect", "--format", "{{.HostConfig.ReadonlyRootfs}}", s.name); mode != "true" {
			t.Errorf("read-only root: %s", mode)
		}
	}
	throttled := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Throttle())
	w.commit(event(t, "1", `{"n":1}`))
	w.must(throttled.AwaitHits(t.Context(), 1))
	w.must(p.cmd.Process.Signal(syscall.SIGTERM))
	p.awaitLog("event=stopping")
	throttled.Clear()
	if err := p.wait(); err != nil {
		t.Errorf("the relay ended with %v", err)
	}
	if got := w.bodies(); len(got) != 1 || got[`{"n":1}`] != 1 {
		t.Errorf("received %v", got)
	}
	w.awaitFreeSlot()
}
