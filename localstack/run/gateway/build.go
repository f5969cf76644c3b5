package gateway

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Build builds the bootstrap of every function with a route or an event source mapping in the
// template, for this machine. It runs the same Makefile targets as `sam build`. The Makefile is
// next to the template. Output goes to log.
func Build(ctx context.Context, template, buildDir string, log io.Writer) error {
	functions, err := readTemplate(template)
	if err != nil {
		return err
	}
	buildDir, err = filepath.Abs(buildDir)
	if err != nil {
		return fmt.Errorf("find the build directory: %w", err)
	}
	for _, f := range functions {
		build := exec.CommandContext(ctx, "make", "--no-print-directory", "build-"+f.name,
			"ARTIFACTS_DIR="+filepath.Join(buildDir, f.name), "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
		build.Dir = filepath.Dir(template)
		build.Stdout, build.Stderr = log, log
		if err := build.Run(); err != nil {
			return fmt.Errorf("build %s: %w", f.name, err)
		}
	}
	return nil
}
