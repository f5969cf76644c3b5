package pgtest

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// unprivileged returns the attributes for starting server programs. As root it selects another
// user, because Postgres refuses to run as root.
func unprivileged() *syscall.SysProcAttr {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid := serverUser()
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
}

// serverUser is the user of the server processes if this process runs as root.
func serverUser() (uid, gid uint32) {
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(found.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(found.Gid, 10, 32)
		if errors.Join(uidErr, gidErr) == nil {
			return uint32(uid), uint32(gid)
		}
	}
	return 65534, 65534 // the overflow user, on a system without a list of users
}

// serverDir creates the folder of a cluster, owned by the server's user. An empty dir means a
// temporary folder in parent.
func serverDir(dir, parent string) (string, error) {
	made, err := makeServerDir(dir, parent)
	if err != nil {
		return "", fmt.Errorf("make folder of the cluster: %w", err)
	}
	if os.Geteuid() != 0 {
		return made, nil
	}
	uid, gid := serverUser()
	if err := os.Chown(made, int(uid), int(gid)); err != nil {
		return "", fmt.Errorf("hand folder of the cluster to its user: %w", err)
	}
	return made, nil
}

func makeServerDir(dir, parent string) (string, error) {
	if dir == "" {
		parent, err := Reachable(cmp.Or(parent, os.TempDir()))
		if err != nil {
			return "", err
		}
		return os.MkdirTemp(parent, "pgtest-")
	}
	dir, err := Reachable(dir)
	if err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// Reachable returns dir as an absolute path, or a substitute if the server's user cannot reach it:
// this process runs as root and dir is below an inaccessible folder such as /root. The substitute
// is the same on every call.
func Reachable(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil || os.Geteuid() != 0 || open(dir) {
		return dir, err
	}
	sum := sha256.Sum256([]byte(dir))
	substitute := fmt.Sprintf("/var/tmp/outbox-relay-%x", sum[:6])
	if err := os.Mkdir(substitute, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(substitute)
	if err != nil {
		return "", err
	}
	uid, _ := serverUser()
	owner := info.Sys().(*syscall.Stat_t).Uid
	if !info.IsDir() || owner != 0 && owner != uid {
		return "", fmt.Errorf("%s is not ours: remove it, or move the checkout out of a folder that only root can "+
			"enter", substitute)
	}
	return substitute, nil
}

// open reports whether every user may traverse dir and its parents, as far as they exist.
func open(dir string) bool {
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		uid, _ := serverUser()
		if err != nil || info.Mode().Perm()&0o001 == 0 && info.Sys().(*syscall.Stat_t).Uid != uid {
			return false
		}
	}
	return true
}
