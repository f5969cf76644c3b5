package postgres

import (
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// rdsRoots are the authorities that sign the certificates of RDS, which no operating system knows. README.md says where
// they come from.
//
//go:embed rds-roots.pem
var rdsRoots []byte

// roots are all authorities that are trusted unless the settings name others: the system's for RDS Proxy, and RDS'.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html
var roots = sync.OnceValue(func() *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM(rdsRoots)
	return pool
})

// trust gives each connection that would check a certificate by the system's authorities those of RDS too.
func trust(conn *pgconn.Config) {
	for _, settings := range tlsSettings(conn) {
		if settings.RootCAs == nil {
			settings.RootCAs = roots()
		}
	}
}

// verifyFull turns sslmode=prefer, which takes any certificate and goes on without TLS if there is none, into
// sslmode=verify-full. It is the default of libpq, so that one who asks for it and one who asks for nothing are the same.
// What else was asked for stays.
func verifyFull(conn *pgconn.Config) {
	if !prefersTLS(conn) {
		return
	}
	verified := conn.Fallbacks[:0]
	for _, fallback := range conn.Fallbacks {
		if fallback.TLSConfig != nil {
			verified = append(verified, fallback)
			verifyHost(fallback.TLSConfig, fallback.Host)
		}
	}
	conn.Fallbacks = verified
	verifyHost(conn.TLSConfig, conn.Host)
}

func verifyHost(settings *tls.Config, host string) {
	settings.InsecureSkipVerify = false
	settings.ServerName = host
}

// prefersTLS reports whether pgx made conn from sslmode=prefer: the same host with TLS, then without.
func prefersTLS(conn *pgconn.Config) bool {
	return conn.TLSConfig != nil && len(conn.Fallbacks) > 0 && conn.Fallbacks[0].TLSConfig == nil && conn.Fallbacks[0].Host == conn.Host
}

func tlsSettings(conn *pgconn.Config) []*tls.Config {
	var all []*tls.Config
	if conn.TLSConfig != nil {
		all = append(all, conn.TLSConfig)
	}
	for _, fallback := range conn.Fallbacks {
		if fallback.TLSConfig != nil {
			all = append(all, fallback.TLSConfig)
		}
	}
	return all
}
