package pgtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// KeyPair is a certificate and its private key, in PEM.
type KeyPair struct{ Certificate, Key []byte }

// NewKeyPair makes a certificate for 127.0.0.1 that is valid for a day. It is its own authority.
func NewKeyPair() (pair KeyPair, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(0, 0, 1), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return pair, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair, err
	}
	pair.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})
	pair.Key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	return pair, nil
}

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
