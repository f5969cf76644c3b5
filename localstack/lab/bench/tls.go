package bench

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// certificate is the certificate of one run, for the broker and Postgres. Their clients trust the
// file authority.
type certificate struct {
	pgtest.KeyPair
	authority string // file of the certificate
	key       string // file of the key
}

// newCertificate creates a certificate for the loopback address, and writes it and its key to dir.
func newCertificate(dir string) (c certificate, err error) {
	if c.KeyPair, err = pgtest.NewKeyPair(); err != nil {
		return c, err
	}
	c.authority, c.key = filepath.Join(dir, "authority.pem"), filepath.Join(dir, "key.pem")
	return c, errors.Join(os.WriteFile(c.authority, c.Certificate, 0o644), os.WriteFile(c.key, c.Key, 0o600))
}

// Secure returns listener with TLS, with the certificate and the key in these files.
func Secure(listener net.Listener, certificate, key string) (net.Listener, error) {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	return tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}}), nil
}

// client requests the progress of the benchmark's own broker, with any certificate.
var client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
