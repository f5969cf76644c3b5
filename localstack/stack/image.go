package stack

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"
)

// RelayImage is the image of the relay as it is built on this machine.
const RelayImage = "outbox-relay:local"

// Image says which image of the relay to build. The zero value is what the stack runs.
type Image struct {
	Tag     string    // empty: RelayImage
	Arch    string    // amd64 or arm64; empty: the engine's
	Version string    // what relay version prints; empty: dev
	Created time.Time // of everything in it; zero: 1970
}

// BuildImage builds an image of the relay. What is in it depends on source, Go and image alone, down to the last byte.
func (s *Stack) BuildImage(ctx context.Context, image Image) error {
	image.Tag = cmp.Or(image.Tag, RelayImage)
	if image.Arch == "" {
		arch, err := run(ctx, engineTimeout, "docker", "version", "--format", "{{.Server.Arch}}")
		if err != nil {
			return fmt.Errorf("ask the container engine for its architecture: %w", err)
		}
		image.Arch = cmp.Or(arch, runtime.GOARCH)
	}
	s.report("building the relay's image %s for linux/%s", image.Tag, image.Arch)
	if _, err := s.BuildImageBinary(ctx, image); err != nil {
		return err
	}
	cmd := exec.Command("docker", "build", "--quiet", "--platform", "linux/"+image.Arch, "--tag", image.Tag,
		"--file", s.Root+"/infra/Dockerfile", s.path("image"))
	// Newer builders take from it the time at which the image was made.
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+strconv.FormatInt(image.epoch().Unix(), 10))
	if _, err := runCommand(ctx, workTimeout, cmd); err != nil {
		return fmt.Errorf("build the relay's image: %w", err)
	}
	return nil
}

// BuildImageBinary builds what the image holds, and returns its path. It needs no container engine.
func (s *Stack) BuildImageBinary(ctx context.Context, image Image) (path string, err error) {
	image.Arch = cmp.Or(image.Arch, runtime.GOARCH)
	path = s.path("image", "linux", image.Arch, "relay")
	err = s.goBuild(ctx, []string{"GOOS=linux", "GOARCH=" + image.Arch},
		"-ldflags", "-s -w -X main.version="+cmp.Or(image.Version, "dev"), "-o", path, "./relay/cmd/relay")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(path, 0o755); err != nil { // whatever the umask is: the layer keeps mode and time
		return "", fmt.Errorf("set the mode of the relay: %w", err)
	}
	if err := os.Chtimes(path, image.epoch(), image.epoch()); err != nil {
		return "", fmt.Errorf("set the time of the relay: %w", err)
	}
	return path, nil
}

func (i Image) epoch() time.Time {
	if i.Created.IsZero() {
		return time.Unix(0, 0)
	}
	return i.Created
}
