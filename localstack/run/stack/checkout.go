package stack

import (
	"errors"
	"os"
	"path/filepath"
)

// Checkout returns the root of the repository that contains the working directory, and the absolute
// path of dir, which may be relative to that root.
func Checkout(dir string) (root, absolute string, err error) {
	if root, err = moduleRoot(); err != nil {
		return "", "", err
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(root, dir)
	}
	return root, dir, nil
}

// moduleRoot returns the root of the repository that contains the working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod in this directory or above it: run localstack inside the repository")
		}
		dir = filepath.Dir(dir)
	}
}
