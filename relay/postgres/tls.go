package postgres

import (
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// rdsRoots are the authorities of RDS, which operating systems do not include. README.md names
// their source.
//
// //go:embed rds-roots.pem
//
//go:embed rds-roots.pem
var rdsRoots []byte

// roots are the trusted authorities unless the settings name others: the system's, which cover RDS
// Proxy, and those of RDS.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html
var roots = sync.OnceValue(func() *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM(rdsRoots)
	return pool
})

// trust adds the authorities of RDS to each connection that verifies certificates with the
// system's.
func trust(conn *pgconn.Config) {
	for _, settings := range tlsSettings(conn) {
		if settings.RootCAs == nil {
			settings.RootCAs = roots()
		}
	}
}

// verifyFull turns sslmode=prefer into sslmode=verify-full. sslmode=prefer accepts any certificate,
// and continues without TLS if the server has none. It is also libpq's default, so an explicit
// prefer cannot be told from no setting. Other modes stay.
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

// prefersTLS reports whether conn comes from sslmode=prefer: one host with TLS, then without.
func prefersTLS(conn *pgconn.Config) bool {
	return conn.TLSConfig != nil && len(conn.Fallbacks) > 0 &&
		conn.Fallbacks[0].TLSConfig == nil && conn.Fallbacks[0].Host == conn.Host
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
