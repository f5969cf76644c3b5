package stack

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// RelayImage is the tag of the relay's image that is built on this machine.
const RelayImage = "outbox-relay:local"

// Image describes an image of the relay to build. The zero value is the image that the stack runs.
type Image struct {
	Tag     string    // empty: RelayImage
	Arch    string    // amd64 or arm64; empty: the engine's
	Version string    // output of relay version; empty: dev
	Created time.Time // of everything in the image; zero: 1970
}

// BuildImage builds an image of the relay. Source, Go version and image determine every byte of it.
// The image gets its tag only after a check that it holds the built program.
func (s *Stack) BuildImage(ctx context.Context, image Image) error {
	image.Tag = cmp.Or(image.Tag, RelayImage)
	if image.Arch == "" {
		arch, err := engineArch(ctx)
		if err != nil {
			return err
		}
		image.Arch = arch
	}
	s.begin("building the relay's image %s for linux/%s (usually 5 seconds)", image.Tag, image.Arch)
	path, err := s.BuildImageBinary(ctx, image)
	if err != nil {
		return err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the relay: %w", err)
	}
	return s.packImage(ctx, image, program)
}

// engineArch returns the architecture of the container engine, which can be on another machine.
func engineArch(ctx context.Context) (string, error) {
	arch, err := run(ctx, engineTimeout, "docker", "version", "--format", "{{.Server.Arch}}")
	if err != nil {
		return "", fmt.Errorf("ask the container engine for its architecture: %w", err)
	}
	return cmp.Or(arch, runtime.GOARCH), nil
}

// imageBinary is the path of the image's program for an architecture.
func (s *Stack) imageBinary(arch string) string { return s.path("image", "linux", arch, "relay") }

// BuildImageBinary builds the image's program and returns its path. It needs no container engine.
func (s *Stack) BuildImageBinary(ctx context.Context, image Image) (path string, err error) {
	image.Arch = cmp.Or(image.Arch, runtime.GOARCH)
	path = s.imageBinary(image.Arch)
	err = s.goBuild(ctx, []string{"GOOS=linux", "GOARCH=" + image.Arch},
		"-ldflags", "-s -w -X main.version="+cmp.Or(image.Version, "dev"), "-o", path, "./relay/cmd/relay")
	return path, err
}

// packImage makes an image of the program, checks it, and tags it.
func (s *Stack) packImage(ctx context.Context, image Image, program []byte) error {
	dockerfile, err := os.ReadFile(filepath.Join(s.Root, "infra", "Dockerfile"))
	if err != nil {
		return fmt.Errorf("read the Dockerfile of the relay's image: %w", err)
	}
	files, err := imageContext(dockerfile, program, image)
	if err != nil {
		return err
	}
	unchecked := "outbox-relay:unchecked-" + rand.Text()
	defer func() { // removes the image too, unless it has its own tag by then
		_, _ = run(context.WithoutCancel(ctx), engineTimeout, "docker", "rmi", unchecked)
	}()
	// The layer cache compares files by content alone. Without --no-cache, the layer of an earlier
	// build could return with another modification time.
	cmd := exec.Command("docker", "build", "--quiet", "--no-cache", "--platform", image.platform(),
		"--build-arg", "TARGETPLATFORM="+image.platform(), // the classic builder does not set it
		"--tag", unchecked, "-")
	cmd.Stdin = bytes.NewReader(files)
	// Newer builders read the image's creation time from SOURCE_DATE_EPOCH. Without these options
	// they would add an attestation with the time of this build.
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+strconv.FormatInt(image.epoch().Unix(), 10),
		"BUILDX_NO_DEFAULT_ATTESTATIONS=1")
	if _, err := runCommand(ctx, workTimeout, cmd); err != nil {
		return fmt.Errorf("build the relay's image %s: %w", image.Tag, err)
	}
	if err := checkImage(ctx, unchecked, image, program); err != nil {
		return err
	}
	if _, err := run(ctx, engineTimeout, "docker", "tag", unchecked, image.Tag); err != nil {
		return fmt.Errorf("tag the relay's image %s: %w", image.Tag, err)
	}
	return nil
}

// imageContext returns the build context as an archive. BuildKit recognises the files of a folder
// by size and modification time, which two builds of the relay share, and then reuses the older
// content. It reads an archive whole.
func imageContext(dockerfile, program []byte, image Image) ([]byte, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, file := range []struct {
		name    string
		mode    int64
		content []byte
	}{{"Dockerfile", 0o644, dockerfile}, {image.platform() + "/relay", 0o755, program}} {
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: file.name, Mode: file.mode, Size: int64(len(file.content)),
			ModTime: image.epoch(), Format: tar.FormatUSTAR,
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("add %s to the context of the relay's image: %w", file.name, err)
		}
		if _, err := w.Write(file.content); err != nil {
			return nil, fmt.Errorf("add %s to the context of the relay's image: %w", file.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("end the context of the relay's image: %w", err)
	}
	return archive.Bytes(), nil
}

// checkImage returns an error if the image named built holds another program.
func checkImage(ctx context.Context, built string, image Image, program []byte) error {
	// A container that is created and not started runs nothing, so the check works for any
	// architecture.
	container := "outbox-relay-unchecked-" + rand.Text()
	defer func() {
		_, _ = run(context.WithoutCancel(ctx), engineTimeout, "docker", "rm", "--force", container)
	}()
	if _, err := run(ctx, workTimeout, "docker", "create", "--name", container, "--pull", "never",
		"--platform", image.platform(), built); err != nil {
		return fmt.Errorf("check the relay's image %s: %w", image.Tag, err)
	}
	held, err := programIn(ctx, container)
	if err != nil {
		return fmt.Errorf("check the relay's image %s: %w", image.Tag, err)
	}
	if want := sha256.Sum256(program); held != want {
		return fmt.Errorf("the relay's image %s was built with another program than this checkout's (sha256 %x, not "+
			"%x), "+
			"because the engine reused an old build: run docker builder prune --all, then build the image again",
			image.Tag, held, want)
	}
	return nil
}

func (i Image) platform() string { return "linux/" + i.Arch }

func (i Image) epoch() time.Time {
	if i.Created.IsZero() {
		return time.Unix(0, 0)
	}
	return i.Created
}
