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

	"github.com/outbox-relay/outbox-relay/localstack/testing/procgroup"
)

// Superuser is the role that initdb creates.
const Superuser = "postgres"

// Options describe a cluster to start. The zero value is a temporary cluster of the newest version
// on this machine.
type Options struct {
	Dir      string            // holds data, log and socket, and survives Stop; empty: a temporary folder that does not
	Parent   string            // of the temporary folder; empty: the usual one of this machine
	Port     int               // on 127.0.0.1; 0: any free port
	Version  int               // major version; 0: that of the data directory, else the newest on this machine
	Release  string            // release to fetch, such as 17.4.0, for a fault that later ones lack; empty: any
	AtLeast  int               // without Version: the oldest acceptable major version
	BinDir   string            // folder of postgres and initdb; empty: search for it, else fetch it
	CacheDir string            // folder for fetched binaries
	Durable  bool              // fsync, so that data survives a crash of the operating system too
	Settings map[string]string // further server settings
	TLS      *KeyPair          // the server offers TLS with it; clients may connect without
	Progress func(string)      // receives the slow steps; may be nil
}

// Server is a running cluster. It ends with the process that started it, even if that process is
// killed. It is not safe for concurrent use.
type Server struct {
	options    Options
	binaries   binaries
	dir        string
	temporary  bool // dir is removed with the cluster
	substitute bool // dir is a substitute, see Reachable
	port       int
	process    *procgroup.Process // nil if stopped
}

// StopMode is a shutdown mode.
type StopMode int

// The two shutdown modes that do not wait for clients.
// https://www.postgresql.org/docs/current/server-shutdown.html
const (
	Fast      StopMode = iota // disconnects the clients and writes a checkpoint
	Immediate                 // recovers at the next start
)

const (
	initTimeout  = 3 * time.Minute // initdb takes a second, and a minute beside fifty busy processes
	startTimeout = time.Minute     // includes recovery after a crash
	stopTimeout  = 30 * time.Second
)

// Start creates the data directory if it does not exist, and starts a server on it.
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

// URL returns the URL of a database for a role.
func (s *Server) URL(database, role string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, role), Path: "/" + database,
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Port returns the port on 127.0.0.1. A restart keeps it.
func (s *Server) Port() int { return s.port }

// Pid returns the process id of the postmaster, or 0 if the cluster is stopped.
func (s *Server) Pid() int {
	if s.process == nil {
		return 0
	}
	return s.process.Pid()
}

// Version returns the server's full version, for example "17.5".
func (s *Server) Version() string { return s.binaries.version }

// LogPath returns the path of the server's log.
func (s *Server) LogPath() string { return filepath.Join(s.dir, "postgres.log") }

// SocketDir returns the folder of the Unix socket, or "" if the path would be too long for a
// socket.
func (s *Server) SocketDir() string {
	const longest = 103 - len("/.s.PGSQL.12345.lock") // sun_path holds 104 bytes on BSD and macOS, 108 on Linux
	if len(s.dir) > longest {
		return ""
	}
	return s.dir
}

// Wait blocks until the postmaster ends or ctx is done. Outside of Stop and Kill the end is
// unexpected.
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

// Stop shuts the cluster down and waits for its end. It removes a temporary cluster. On a stopped
// cluster it does nothing.
func (s *Server) Stop(mode StopMode) error {
	err := s.halt(mode)
	if s.temporary {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// Kill ends every process of the cluster with SIGKILL, like a crash of the machine. Restart starts
// the cluster again.
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

// start tries further ports at the first start if it may choose, because another process can bind a
// port between its selection and its use. At a later start it retries while processes of a killed
// cluster are still ending: until then Postgres refuses the data directory and may not get the
// port.
func (s *Server) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	first := s.port == 0
	for ports := 0; ; {
		if s.port == 0 {
			port, err := procgroup.FreePort()
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
		case portTaken && s.options.Port == 0 && !first, strings.Contains(err.Error(),
			"pre-existing shared memory block"):
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
	defer logFile.Close() // the server has its own descriptor
	cmd := exec.Command(filepath.Join(s.binaries.dir, "postgres"), s.arguments()...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, logFile, logFile
	cmd.SysProcAttr = unprivileged()
	orphan := procgroup.Orphan{Signal: "QUIT"}
	if s.temporary {
		orphan.Remove = s.dir
	}
	if s.process, err = procgroup.Start(cmd, orphan); err != nil {
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

// ready waits until the server accepts connections.
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

// ping connects and verifies that this cluster answers on the port, and not another one that has
// bound it.
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

// logTail returns the last lines of the server's log, for an error.
func (s *Server) logTail() string {
	content, err := os.ReadFile(s.LogPath())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}
