package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// prepare finds the binaries and creates the folder and the data directory.
func (s *Server) prepare(ctx context.Context) (err error) {
	if s.dir, err = serverDir(s.options.Dir, s.options.Parent); err != nil {
		return err
	}
	asked, err := filepath.Abs(s.options.Dir)
	if err != nil {
		return fmt.Errorf("find folder of the cluster: %w", err)
	}
	s.substitute = !s.temporary && s.dir != asked
	version, err := s.wantedVersion()
	if err != nil {
		return err
	}
	s.binaries, err = locate(ctx, s.options.search(version))
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.dataDir(), "PG_VERSION")); err == nil {
		return nil
	}
	return s.createDataDir(ctx)
}

// wantedVersion is the requested version, or the version of the data directory.
func (s *Server) wantedVersion() (int, error) {
	content, err := os.ReadFile(filepath.Join(s.dataDir(), "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return s.options.Version, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read version of data directory: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return 0, fmt.Errorf("version of data directory %s: %w", s.dataDir(), err)
	}
	if s.options.Version != 0 && s.options.Version != major {
		return 0, fmt.Errorf("data directory %s is of Postgres %d, not %d: remove it to start afresh", s.dataDir(),
			major, s.options.Version)
	}
	return major, nil
}

// createDataDir writes to a folder of another name first, so that an interrupted run is never
// mistaken for a cluster.
func (s *Server) createDataDir(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	unfinished := s.dataDir() + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return fmt.Errorf("clear %s: %w", unfinished, err)
	}
	if err := s.create(ctx, unfinished); err != nil {
		return fmt.Errorf("create the cluster: %w", err)
	}
	if err := os.Rename(unfinished, s.dataDir()); err != nil {
		return fmt.Errorf("finish data directory: %w", err)
	}
	return nil
}
