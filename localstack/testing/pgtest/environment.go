package pgtest

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// Dir returns a folder for [Options.Dir] of a server that the test stops and starts. The folder is
// removed when the test ends.
func Dir(t testing.TB) string {
	t.Helper()
	parent := os.Getenv("PGTEST_DIR")
	if parent == "" {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(parent, "pgtest-") //nolint:usetesting // t.TempDir is in another parent
	if err == nil {
		err = os.Chmod(dir, 0o755) // the server's user enters it
	}
	if err != nil {
		t.Fatalf("pgtest: make a folder in PGTEST_DIR: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return dir
}

func fromEnvironment(o Options) (Options, error) {
	if o.Version == 0 && o.Release == "" {
		o.BinDir = cmp.Or(o.BinDir, os.Getenv("PGTEST_BINDIR"))
	}
	o.CacheDir = cmp.Or(o.CacheDir, cacheDir())
	if !o.Durable {
		o.Parent = cmp.Or(o.Parent, os.Getenv("PGTEST_DIR"))
	}
	if version := os.Getenv("PGTEST_VERSION"); o.Version == 0 && o.Release == "" && version != "" {
		major, err := strconv.Atoi(version)
		if err != nil {
			return o, fmt.Errorf("PGTEST_VERSION=%q is not a major version such as 17", version)
		}
		if major >= o.AtLeast {
			o.Version = major
		}
	}
	return o, nil
}

// cacheDir is the ignored folder of the checkout, so that one download serves all packages.
func cacheDir() string {
	dir, err := os.Getwd()
	for err == nil && dir != filepath.Dir(dir) {
		if _, statErr := os.Stat(filepath.Join(dir, "go.mod")); statErr == nil {
			return filepath.Join(dir, ".local", "cache")
		}
		dir = filepath.Dir(dir)
	}
	return filepath.Join(os.TempDir(), "outbox-relay-cache")
}
