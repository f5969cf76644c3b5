package stack

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os/exec"
)

type checksum = [sha256.Size]byte

// programIn returns the checksum of the relay in a container, which need not run.
func programIn(ctx context.Context, container string) (checksum, error) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	copied, err := exec.CommandContext(ctx, "docker", "cp", container+":/relay", "-").Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, lastLine(string(exit.Stderr)))
	}
	if err != nil {
		return checksum{}, fmt.Errorf("copy the relay out of the container %s: %w", container, err)
	}
	archive := tar.NewReader(bytes.NewReader(copied))
	if _, err := archive.Next(); err != nil {
		return checksum{}, fmt.Errorf("read the relay of the container %s: %w", container, err)
	}
	program := sha256.New()
	if _, err := io.Copy(program, archive); err != nil {
		return checksum{}, fmt.Errorf("read the relay of the container %s: %w", container, err)
	}
	return checksum(program.Sum(nil)), nil
}
