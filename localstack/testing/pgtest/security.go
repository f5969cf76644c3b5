package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
)

// Authenticate sets these lines of pg_hba.conf, after a line that always admits the superuser.
// https://www.postgresql.org/docs/current/auth-pg-hba-conf.html
func (s *Server) Authenticate(ctx context.Context, lines string) error {
	const superuser = "host all " + Superuser + " 127.0.0.1/32 trust\n"
	if err := s.writeFile("pg_hba.conf", []byte(superuser+lines+"\n")); err != nil {
		return err
	}
	return s.reload(ctx)
}

// ServeTLS makes the server accept TLS connections with this certificate and key, both in PEM.
// Existing connections continue.
func (s *Server) ServeTLS(ctx context.Context, certificate, key []byte) error {
	if err := s.writeFile("server.crt", certificate); err != nil {
		return err
	}
	if err := s.writeFile("server.key", key); err != nil {
		return err
	}
	return s.reload(ctx, "ALTER SYSTEM SET ssl = on")
}

// writeFile writes a file to the data directory, readable by the server's user alone.
func (s *Server) writeFile(name string, content []byte) error {
	path := filepath.Join(s.dataDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid := serverUser()
	if err := os.Chown(path, int(uid), int(gid)); err != nil {
		return fmt.Errorf("hand %s to the server's user: %w", name, err)
	}
	return nil
}

// reload returns once the settings in the files apply to new connections.
func (s *Server) reload(ctx context.Context, statements ...string) error {
	conn, err := pgx.Connect(ctx, s.URL("postgres", Superuser))
	if err != nil {
		return fmt.Errorf("connect to change settings: %w", err)
	}
	defer conn.Close(ctx)
	before, err := confLoadTime(ctx, conn)
	if err != nil {
		return err
	}
	for _, statement := range append(statements, "SELECT pg_reload_conf()") {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	for {
		later, err := pgx.Connect(ctx, s.URL("postgres", Superuser))
		if err != nil {
			return fmt.Errorf("connect to look at settings: %w", err)
		}
		loaded, err := confLoadTime(ctx, later)
		if err := errors.Join(err, later.Close(ctx)); err != nil || loaded.After(before) {
			return err
		}
	}
}

// confLoadTime returns the time at which the settings of a connection were read. A new connection
// has the server's.
func confLoadTime(ctx context.Context, conn *pgx.Conn) (loaded time.Time, err error) {
	if err := conn.QueryRow(ctx, "SELECT pg_conf_load_time()").Scan(&loaded); err != nil {
		return loaded, fmt.Errorf("ask when the settings were read: %w", err)
	}
	return loaded, nil
}
