package pgtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/child"
)

// Superuser is the role that initdb makes.
const Superuser = "postgres"

// Options say which cluster to start. The zero value is a temporary one of the newest version on this machine.
type Options struct {
	Dir      string            // holds data, log and socket, and survives Stop; empty: a temporary one that does not
	Port     int               // on 127.0.0.1; 0: any free port
	Version  int               // major version; 0: that of the data directory, else the newest on this machine
	Release  string            // fetched release such as 17.4.0, for a fault that later ones do not have; empty: any
	AtLeast  int               // without Version: the oldest major version that will do
	BinDir   string            // folder of postgres and initdb; empty: look for it, else fetch it
	CacheDir string            // where fetched binaries are kept
	Durable  bool              // fsync, so that data also survives a crash of the operating system
	Settings map[string]string // further server settings
	TLS      *KeyPair          // the server offers TLS with it; clients may still connect without
	Progress func(string)      // told what takes long; may be nil
}

// Server is a running cluster. It ends with the process that started it, however that ends. A Server may be used by one
// goroutine at a time.
type Server struct {
	options    Options
	binaries   binaries
	dir        string
	temporary  bool // dir goes with the cluster
	substitute bool // dir is not the one asked for, see Reachable
	port       int
	process    *child.Process // nil when stopped
}

// StopMode is how a cluster is asked to stop.
type StopMode int

// The two shutdown modes of https://www.postgresql.org/docs/current/server-shutdown.html that do not wait for clients.
const (
	Fast      StopMode = iota // sends the clients away, writes a checkpoint
	Immediate                 // recovers at the next start
)

const (
	startTimeout = time.Minute // recovery after a crash included
	stopTimeout  = 30 * time.Second
)

// Start makes the data directory if there is none and starts a server on it.
func Start(ctx context.Context, options Options) (*Server, error) {
	s := &Server{options: options, temporary: options.Dir == "", port: options.Port}
	if s.options.Progress == nil {
		s.options.Progress = func(string) {}
	}
	err := s.prepare(ctx)
	if err == nil {
		err = s.writeKeyPair()
	}
	if err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		if s.temporary {
			err = errors.Join(err, os.RemoveAll(s.dir))
		}
		return nil, err
	}
	return s, nil
}

// URL returns the address of a database as a role of the cluster.
func (s *Server) URL(database, role string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, role), Path: "/" + database,
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Port returns the port on 127.0.0.1. It stays the same over a restart.
func (s *Server) Port() int { return s.port }

// Pid returns the process id of the postmaster, or 0 when the cluster is stopped.
func (s *Server) Pid() int {
	if s.process == nil {
		return 0
	}
	return s.process.Pid()
}

// Version returns the server's full version, for example "17.5".
func (s *Server) Version() string { return s.binaries.version }

// LogPath returns the file that the server logs to.
func (s *Server) LogPath() string { return filepath.Join(s.dir, "postgres.log") }

// SocketDir returns the folder of the Unix socket, or "" where its path would be too long for one.
func (s *Server) SocketDir() string {
	const longest = 103 - len("/.s.PGSQL.12345.lock") // sun_path holds 104 bytes on BSD and macOS, 108 on Linux
	if len(s.dir) > longest {
		return ""
	}
	return s.dir
}

// Wait blocks until the postmaster ends, which nobody asked for unless Stop or Kill runs, or until ctx is done.
func (s *Server) Wait(ctx context.Context) error {
	if s.process == nil {
		return nil
	}
	select {
	case <-s.process.Done():
		return fmt.Errorf("postgres ended: %w: %s", s.process.Err(), s.logTail())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stop shuts the cluster down and waits for it. A temporary cluster is removed. Stopping a stopped one does nothing.
func (s *Server) Stop(mode StopMode) error {
	err := s.halt(mode)
	if s.temporary {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// Kill ends every process of the cluster with SIGKILL, as a crash of the machine would. Restart brings it back.
func (s *Server) Kill() error {
	if s.process == nil {
		return nil
	}
	err := s.process.KillTree()
	s.process = nil
	return err
}

// Restart stops the cluster, if it runs, and starts it again on the same port.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.halt(Fast); err != nil {
		return err
	}
	return s.start(ctx)
}

func (s *Server) halt(mode StopMode) error {
	if s.process == nil {
		return nil
	}
	p := s.process
	s.process = nil
	return p.Stop(map[StopMode]syscall.Signal{Fast: syscall.SIGINT, Immediate: syscall.SIGQUIT}[mode], stopTimeout)
}

func (s *Server) dataDir() string { return filepath.Join(s.dir, "data") }

// start tries other ports when it may choose, at the first start: another process can take one between the look and the
// bind. Later it tries again while processes of a killed cluster are on their way out: until the last is gone, Postgres
// refuses their directory and may not get their port.
func (s *Server) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	first := s.port == 0
	for ports := 0; ; {
		if s.port == 0 {
			port, err := freePort()
			if err != nil {
				return err
			}
			s.port, ports = port, ports+1
		}
		err := s.launch(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		portTaken := strings.Contains(err.Error(), "Address already in use")
		switch {
		case portTaken && first && ports < 3:
			s.port = 0
		case portTaken && s.options.Port == 0 && !first, strings.Contains(err.Error(), "pre-existing shared memory block"):
			time.Sleep(50 * time.Millisecond)
		default:
			return err
		}
	}
}

func (s *Server) launch(ctx context.Context) error {
	logFile, err := os.OpenFile(s.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open server log: %w", err)
	}
	defer logFile.Close() // the server has its own copy
	cmd := exec.Command(filepath.Join(s.binaries.dir, "postgres"), s.arguments()...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, logFile, logFile
	cmd.SysProcAttr = unprivileged()
	orphan := child.Orphan{Signal: "QUIT"}
	if s.temporary {
		orphan.Remove = s.dir
	}
	if s.process, err = child.Start(cmd, orphan); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	if err := s.ready(ctx); err != nil {
		return errors.Join(err, s.Kill())
	}
	return nil
}

func (s *Server) arguments() []string {
	settings := map[string]string{
		"listen_addresses":          "127.0.0.1",
		"port":                      strconv.Itoa(s.port),
		"unix_socket_directories":   s.SocketDir(),
		"wal_level":                 "logical",
		"max_wal_senders":           "100",
		"max_replication_slots":     "100",
		"max_connections":           "300",
		"max_prepared_transactions": "20",
		"fsync":                     map[bool]string{true: "on", false: "off"}[s.options.Durable],
		"log_line_prefix":           "%m [%p] %q%u@%d/%a ",
	}
	if s.options.TLS != nil {
		settings["ssl"], settings["ssl_cert_file"], settings["ssl_key_file"] = "on", s.certificatePath(), s.keyPath()
	}
	maps.Copy(settings, s.options.Settings)
	args := []string{"-D", s.dataDir()}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// ready waits until the server takes connections.
func (s *Server) ready(ctx context.Context) error {
	for {
		err := s.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.process.Done():
			return fmt.Errorf("postgres on port %d did not start: %w: %s", s.port, s.process.Err(), s.logTail())
		case <-ctx.Done():
			return fmt.Errorf("postgres on port %d is not ready, see %s: %w", s.port, s.LogPath(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ping connects and makes sure that it is this cluster that answers on the port, not one that took it earlier.
func (s *Server) ping(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.URL("postgres", Superuser))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var directory string
	if err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&directory); err != nil {
		return err
	}
	if directory != s.dataDir() {
		return fmt.Errorf("port %d is taken by the Postgres of %s", s.port, directory)
	}
	return nil
}

// logTail is what the server said last, for an error.
func (s *Server) logTail() string {
	content, err := os.ReadFile(s.LogPath())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
