package stack

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// The containers and their network have the same names in every checkout, because samconfig.toml
// names the network. So a machine has one set of them, with a label that names the owner. The
// database's volume has a different name for each folder.

// ownerLabel holds LOCAL_DIR.
const ownerLabel = "outbox-relay.local-dir"

// owner returns the folder that owns the containers, and whether containers exist.
func (c *compose) owner(ctx context.Context) (dir string, exist bool, err error) {
	labels, err := run(ctx, engineTimeout, "docker", "ps", "--all", "--filter",
		"label=com.docker.compose.project="+composeProject,
		"--format", `dir={{.Label "`+ownerLabel+`"}}`)
	if err != nil {
		return "", false, fmt.Errorf("ask whose containers run: %w", err)
	}
	for line := range strings.Lines(labels) {
		exist = true
		of := strings.TrimPrefix(strings.TrimSpace(line), "dir=")
		if of == "" {
			continue
		}
		if dir = of; dir != c.Dir {
			break
		}
	}
	return dir, exist, nil
}

// ours returns an error if the containers belong to another folder. A folder that no longer exists
// owns nothing, because no command could stop the containers from there.
func (c *compose) ours(ctx context.Context) error {
	dir, exist, err := c.owner(ctx)
	if err != nil || !exist || dir == "" || dir == c.Dir { // containers without the label were started by hand
		return err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("the containers of %s belong to %s: run make localstack-down there", composeProject, dir)
}

// runs reports whether this folder owns containers.
func (c *compose) runs(ctx context.Context) bool {
	dir, exist, err := c.owner(ctx)
	return err == nil && exist && dir == c.Dir
}

// refuseOthers returns an error if the containers belong to another folder and up could choose the
// compose way.
func (s *Stack) refuseOthers(ctx context.Context, state *State) error {
	c := &compose{Stack: s}
	insist := s.Insist
	if state != nil {
		insist = state.Way
	}
	if insist == Host || insist == Embedded || c.check(ctx) != nil {
		return nil
	}
	if err := c.ours(ctx); err != nil {
		return fmt.Errorf("%w, or set STACK=host here", err)
	}
	return nil
}

// volume is the name of the database's volume.
func (c *compose) volume() string {
	sum := sha256.Sum256([]byte(c.Dir))
	return fmt.Sprintf("%s-%x", composeProject, sum[:6])
}

func (c *compose) stored(ctx context.Context) bool {
	_, err := run(ctx, engineTimeout, "docker", "volume", "inspect", c.volume())
	return err == nil
}

func (c *compose) removeVolume(ctx context.Context) error {
	if _, err := run(ctx, engineTimeout, "docker", "volume", "rm", c.volume()); err != nil {
		return fmt.Errorf("remove the volume of the database: %w", err)
	}
	return nil
}
