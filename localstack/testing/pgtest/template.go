package pgtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// create fills the data directory dir. initdb takes most of a second of processor time, so its
// result is kept in the cache folder. Later clusters of the same version are copies of it. A
// durable cluster, whose files initdb syncs, is never a copy, and without a cache folder none is.
func (s *Server) create(ctx context.Context, dir string) error {
	args := []string{"-U", Superuser, "--auth=trust", "--encoding=UTF8", "--locale=C"}
	if !s.options.Durable {
		args = append(args, "--no-sync")
	}
	if s.options.Durable || s.options.CacheDir == "" {
		return s.initdb(ctx, append(args, "-D", dir)...)
	}
	template, err := s.templateDir(args)
	if err != nil {
		return err
	}
	switch _, err := os.Stat(template); {
	case err == nil:
		if err := copyTree(ctx, template, dir); err != nil {
			return err
		}
		return renumber(dir)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("find the template of the cluster: %w", err)
	}
	if err := s.initdb(ctx, append(args, "-D", dir)...); err != nil {
		return err
	}
	return keepTemplate(ctx, dir, template)
}

// templateDir names the template by all that its files depend on. It belongs to the server's user.
func (s *Server) templateDir(args []string) (string, error) {
	cache, err := Reachable(s.options.CacheDir)
	if err != nil {
		return "", fmt.Errorf("find a folder for the template of the cluster: %w", err)
	}
	uid := os.Geteuid()
	if attributes := unprivileged(); attributes != nil {
		uid = int(attributes.Credential.Uid)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %q %d", s.binaries.dir, args, uid))
	return filepath.Join(cache, fmt.Sprintf("cluster-%s-%x", s.binaries.version, sum[:6])), nil
}

// keepTemplate copies a data directory to the template. Of several processes that do so, one
// succeeds.
func keepTemplate(ctx context.Context, dir, template string) error {
	if err := os.MkdirAll(filepath.Dir(template), 0o755); err != nil {
		return fmt.Errorf("make cache folder: %w", err)
	}
	unfinished, err := os.MkdirTemp(filepath.Dir(template), "cluster-new-")
	if err != nil {
		return fmt.Errorf("make folder of the template: %w", err)
	}
	defer os.RemoveAll(unfinished)
	if err := copyTree(ctx, dir, filepath.Join(unfinished, "data")); err != nil {
		return err
	}
	err = os.Rename(filepath.Join(unfinished, "data"), template)
	if _, statErr := os.Stat(template); err != nil && statErr != nil {
		return fmt.Errorf("keep the template of the cluster: %w", err)
	}
	return nil
}

// copyTree copies a folder with its owners and modes.
func copyTree(ctx context.Context, from, to string) error {
	if output, err := exec.CommandContext(ctx, "cp", "-R", "-p", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s to %s: %w: %s", from, to, err, bytes.TrimSpace(output))
	}
	return nil
}

// renumber gives a copied cluster a system identifier of its own, as initdb does. The identifier is
// the first field of the control file, whose checksum is its last one, and it is in the header of
// each segment of the log.
// https://github.com/postgres/postgres/blob/REL_15_STABLE/src/include/catalog/pg_control.h
// https://github.com/postgres/postgres/blob/REL_15_STABLE/src/include/access/xlog_internal.h
func renumber(dir string) error {
	const inSegment = 24 // behind the fields of each page
	path := filepath.Join(dir, "global", "pg_control")
	control, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the control file: %w", err)
	}
	end, err := checksumOffset(control)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	rand.Read(control[:7]) // never fails; the last byte keeps the identifier positive as a bigint
	binary.NativeEndian.PutUint32(control[end:], crc32.Checksum(control[:end], castagnoli))
	// the pattern is well-formed
	segments, _ := filepath.Glob(filepath.Join(dir, "pg_wal", strings.Repeat("[0-9A-F]", 24)))
	if len(segments) == 0 {
		return fmt.Errorf("%s has no log", dir)
	}
	for _, segment := range segments {
		if err := overwrite(segment, control[:8], inSegment); err != nil {
			return err
		}
	}
	return overwrite(path, control, 0)
}

// overwrite replaces a part of a file, and keeps its owner.
func overwrite(path string, content []byte, at int64) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("renumber the cluster: %w", err)
	}
	_, err = file.WriteAt(content, at)
	return errors.Join(err, file.Close())
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksumOffset returns where the checksum of a control file is: behind the bytes that it covers,
// whose number depends on the version.
func checksumOffset(control []byte) (int, error) {
	for end := 8; end+4 <= len(control); end += 4 {
		if binary.NativeEndian.Uint32(control[end:]) == crc32.Checksum(control[:end], castagnoli) {
			return end, nil
		}
	}
	return 0, errors.New("the control file has no valid checksum")
}

// initdb runs initdb as the server's user.
func (s *Server) initdb(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.binaries.dir, "initdb"), args...)
	cmd.Dir, cmd.SysProcAttr = s.dir, unprivileged()
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(output))
	}
	return nil
}
