package pgtest

import (
	"fmt"
	"os"
	"path/filepath"
)

// KeyPair is a certificate and its private key, in PEM.
type KeyPair struct{ Certificate, Key []byte }

func (s *Server) certificatePath() string { return filepath.Join(s.dir, "server.crt") }
func (s *Server) keyPath() string         { return filepath.Join(s.dir, "server.key") }

// writeKeyPair writes the files of Options.TLS. The server refuses a key that others may read, or
// that belongs to another user than its own and root.
func (s *Server) writeKeyPair() error {
	if s.options.TLS == nil {
		return nil
	}
	if err := os.WriteFile(s.certificatePath(), s.options.TLS.Certificate, 0o644); err != nil {
		return fmt.Errorf("write the server's certificate: %w", err)
	}
	if err := os.WriteFile(s.keyPath(), s.options.TLS.Key, 0o600); err != nil {
		return fmt.Errorf("write the server's key: %w", err)
	}
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid := serverUser()
	if err := os.Chown(s.keyPath(), int(uid), int(gid)); err != nil {
		return fmt.Errorf("hand the server's key to its user: %w", err)
	}
	return nil
}
