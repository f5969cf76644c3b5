package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// oldest is the oldest version that the relay supports.
const oldest = 15

// places are the folders of the usual packages' server binaries, in addition to PATH and pg_config.
var places = []string{
	"/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
	"/usr/pgsql-*/bin",                                   // PGDG on Red Hat
	"/usr/libexec/postgresql*",                           // Alpine
	"/opt/homebrew/opt/postgresql*/bin",                  // Homebrew, Apple silicon
	"/usr/local/opt/postgresql*/bin",                     // Homebrew, Intel
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",     //
	"/Applications/Postgres.app/Contents/Versions/*/bin", //
}

var fetchable = map[int]embeddedpostgres.PostgresVersion{
	15: embeddedpostgres.V15, 16: embeddedpostgres.V16, 17: embeddedpostgres.V17, 18: embeddedpostgres.V18,
}

// StaleRelease is a release whose walsender caches a table as it was without the publication, if a
// transaction was open meanwhile. Its successor 17.5 and 15.13 do not.
const StaleRelease = "17.4.0"

// defaultFetch is the version to fetch if none is requested: that of compose.yaml.
const defaultFetch = 17

// binaries is one installation of the server.
type binaries struct {
	dir     string
	version string // as printed: 15.18
	major   int
}

type search struct {
	binDir, cacheDir string
	release          string
	version, atLeast int
	progress         func(string)
	repository       string // to fetch from; the library's if empty
}

// locate finds an installation on this machine or fetches one.
func locate(ctx context.Context, s search) (binaries, error) {
	if s.version != 0 && s.version < oldest {
		return binaries{}, fmt.Errorf("postgres %d is too old: %d or newer is needed", s.version, oldest)
	}
	if s.release != "" {
		return fetch(ctx, s)
	}
	if s.binDir != "" {
		found, err := inspect(ctx, s.binDir)
		if err != nil {
			return binaries{}, fmt.Errorf("server binaries in %s: %w", s.binDir, err)
		}
		if s.version != 0 && found.major != s.version {
			return binaries{}, fmt.Errorf("server binaries in %s are of version %s, not %d", s.binDir, found.version,
				s.version)
		}
		if found.major >= s.atLeast {
			return found, nil
		}
	}
	if found, ok := installed(ctx, s.version, max(oldest, s.atLeast)); ok {
		return found, nil
	}
	return fetch(ctx, s)
}

// Fetch fetches the server binaries of each of the options to the cache folder of the checkout,
// unless they are on this machine. A test fetches those that it needs itself, but takes a minute to
// unpack them with the race detector. Fetch returns the errors of all that are not available.
func Fetch(ctx context.Context, all ...Options) error {
	var errs []error
	for _, o := range all {
		o.CacheDir, o.Progress = cacheDir(), func(string) {}
		_, err := locate(ctx, o.search(o.Version))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// search returns what to look for, with the version instead of that of o.
func (o Options) search(version int) search {
	return search{
		binDir: o.BinDir, cacheDir: o.CacheDir, release: o.Release, version: version, atLeast: o.AtLeast,
		progress: o.Progress,
	}
}

// installed returns the newest installation, or the one of the requested version.
func installed(ctx context.Context, version, atLeast int) (binaries, bool) {
	var all []binaries
	for _, dir := range candidates(ctx) {
		if b, err := inspect(ctx, dir); err == nil && b.major >= atLeast && (version == 0 || b.major == version) {
			all = append(all, b)
		}
	}
	if len(all) == 0 {
		return binaries{}, false
	}
	return slices.MaxFunc(all, func(a, b binaries) int { return a.major - b.major }), true
}

func candidates(ctx context.Context) []string {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	if output, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(output)))
	}
	for _, pattern := range places {
		found, _ := filepath.Glob(pattern) // the patterns are well-formed
		dirs = append(dirs, found...)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`)

// inspect runs the binaries in dir to check that they work, and returns their version.
func inspect(ctx context.Context, dir string) (binaries, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return binaries{}, err
	}
	output, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return binaries{}, fmt.Errorf("run postgres --version: %w", err)
	}
	match := versionLine.FindStringSubmatch(string(output))
	if match == nil {
		return binaries{}, fmt.Errorf("postgres --version says %q", output)
	}
	major, err := strconv.Atoi(match[2])
	if err != nil {
		return binaries{}, fmt.Errorf("postgres --version says %q: %w", output, err)
	}
	return binaries{dir: dir, version: match[1], major: major}, nil
}

// fetch downloads the binaries once and keeps them in the cache folder.
func fetch(ctx context.Context, s search) (binaries, error) {
	archive, err := s.archive()
	if err != nil {
		return binaries{}, err
	}
	cache, err := Reachable(s.cacheDir)
	if err != nil {
		return binaries{}, fmt.Errorf("find a folder for the binaries: %w", err)
	}
	home := filepath.Join(cache, "postgres-"+string(archive))
	if found, err := inspect(ctx, filepath.Join(home, "bin")); err == nil {
		return found, nil
	}
	unlock, err := lock(ctx, home+".lock")
	if err != nil {
		return binaries{}, err
	}
	defer unlock()
	if found, err := inspect(ctx, filepath.Join(home, "bin")); err == nil {
		return found, nil // another process fetched it meanwhile
	}
	s.progress(fmt.Sprintf("fetching Postgres %s, which is not installed", archive))
	unfinished := home + ".new"
	fetchErr := errors.Join(os.RemoveAll(unfinished), download(ctx, s, archive, cache, unfinished))
	err = verify(checksums, cache, string(archive))
	if errors.Is(err, errNoArchive) {
		return binaries{}, fmt.Errorf("fetch Postgres %s, which is not installed: %w: check the network and "+
			"HTTPS_PROXY, or install Postgres %d or newer", archive, withCause(ctx, fetchErr),
			max(oldest, s.version, s.atLeast))
	}
	if err != nil {
		return binaries{}, fmt.Errorf("fetch Postgres %s: %w", archive, errors.Join(fetchErr, err))
	}
	if _, err := inspect(ctx, filepath.Join(unfinished, "bin")); err != nil {
		return binaries{}, fmt.Errorf("fetch Postgres %s: %w", archive, errors.Join(fetchErr, err))
	}
	if err := os.Rename(unfinished, home); err != nil {
		return binaries{}, fmt.Errorf("finish fetch of Postgres %s: %w", archive, err)
	}
	return inspect(ctx, filepath.Join(home, "bin"))
}

// archive returns the release to fetch.
func (s search) archive() (embeddedpostgres.PostgresVersion, error) {
	if s.release != "" {
		return embeddedpostgres.PostgresVersion(s.release), nil
	}
	version := s.version
	if version == 0 {
		version = max(defaultFetch, s.atLeast)
	}
	archive, ok := fetchable[version]
	if !ok {
		return "", fmt.Errorf("no server binaries of Postgres %d found and none to fetch: install them", version)
	}
	return archive, nil
}

// lock serialises the downloads of the processes of one `go test ./...`.
func lock(ctx context.Context, path string) (unlock func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make cache folder: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	for syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for %s: %w", path, ctx.Err()), file.Close())
		case <-time.After(100 * time.Millisecond):
		}
	}
	return file.Close, nil
}

// download makes the library fetch and unpack the binaries. The library does that only as the first
// part of starting a server. A data directory that cannot be created stops it there. So the
// library's error has no meaning, and the caller checks for the binaries. The library takes no
// context: if ctx ends first, the download continues until this process ends.
func download(ctx context.Context, s search, version embeddedpostgres.PostgresVersion, cache, home string) error {
	// The library first looks whether its port is free, and needs none. Any other one may be taken.
	config := embeddedpostgres.DefaultConfig().Version(version).Port(0).Logger(io.Discard).
		CachePath(cache).RuntimePath(filepath.Join(cache, "unused")).BinariesPath(home).DataPath(os.DevNull + "/none")
	if s.repository != "" {
		config = config.BinaryRepositoryURL(s.repository)
	}
	done := make(chan error, 1)
	go func() { done <- embeddedpostgres.NewDatabase(config).Start() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
