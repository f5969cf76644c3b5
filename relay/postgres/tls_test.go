package postgres_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

func TestRDSIsVerifiedByDefault(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		settings postgres.Settings
		verified bool
	}{
		{postgres.Settings{URL: rdsURL}, true},
		{postgres.Settings{URL: "postgres://relay@orders.abc123.rds.cn-north-1.amazonaws.com.cn/outbox"}, true},
		{postgres.Settings{URL: "postgres://relay@localhost/outbox", SecretARN: secretARN}, true},
		{postgres.Settings{URL: "postgres://relay@localhost/outbox", Auth: postgres.AuthIAM}, true},
		{postgres.Settings{URL: "postgres://relay@localhost/outbox"}, false},
		{postgres.Settings{URL: "postgres://relay@rds.amazonaws.com.example.org/outbox"}, false},
		{postgres.Settings{URL: rdsURL + "?sslmode=require"}, false},
		{postgres.Settings{URL: rdsURL + "?sslmode=disable"}, false},
	} {
		config, err := c.settings.Parse()
		if err != nil {
			t.Fatal(err)
		}
		conn := config.ConnConfig
		verified := conn.TLSConfig != nil && !conn.TLSConfig.InsecureSkipVerify &&
			conn.TLSConfig.ServerName == conn.Host && len(conn.Fallbacks) == 0
		if verified != c.verified {
			t.Errorf("%+v: verified %v", c.settings, verified)
		}
	}
}

func TestRootsOfRDSAreTrustedAndLastForYears(t *testing.T) {
	t.Parallel()
	config, err := postgres.Settings{URL: rdsURL}.Parse()
	if err != nil {
		t.Fatal(err)
	}
	rest, err := os.ReadFile("rds-roots.pem")
	if err != nil {
		t.Fatal(err)
	}
	count := bytes.Count(rest, []byte("-----BEGIN CERTIFICATE-----"))
	for range count {
		block, after := pem.Decode(rest)
		rest = after
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		err = root.CheckSignatureFrom(root)
		if err != nil || !root.IsCA || !strings.HasPrefix(root.Subject.CommonName, "Amazon RDS ") {
			t.Errorf("%s is no root of RDS: %v", root.Subject, err)
		}
		if root.NotAfter.Before(time.Now().AddDate(5, 0, 0)) {
			t.Errorf("%s expires on %s", root.Subject, root.NotAfter)
		}
		if _, err := root.Verify(x509.VerifyOptions{Roots: config.ConnConfig.TLSConfig.RootCAs}); err != nil {
			t.Errorf("%s is not trusted: %v", root.Subject, err)
		}
	}
	if count < 80 {
		t.Errorf("there are only %d roots", count)
	}
}

func TestOnlyTheRightCertificateOpensAConnection(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgtest.Options{})
	authority, tomorrow := pgtest.NewAuthority(t), time.Now().Add(24*time.Hour)
	for _, c := range []struct {
		name, host  string
		until       time.Time
		trusted     string
		refusedWith string
	}{
		{"right", "localhost", tomorrow, authority.File(), ""},
		{"another host", "orders.example.org", tomorrow, authority.File(), "a name that the certificate holds"},
		{"expired", "localhost", time.Now().Add(-time.Hour), authority.File(), "a new certificate"},
		{"another authority", "localhost", tomorrow, pgtest.NewAuthority(t).File(), "PGSSLROOTCERT"},
		{"unknown authority", "localhost", tomorrow, "", "PGSSLROOTCERT"},
	} {
		certificate, key := authority.Certificate(c.host, c.until)
		if err := server.ServeTLS(t.Context(), certificate, key); err != nil {
			t.Fatal(err)
		}
		url := fmt.Sprintf("postgres://postgres@localhost:%d/postgres?sslmode=verify-full", server.Port())
		if c.trusted != "" {
			url += "&sslrootcert=" + c.trusted
		}
		for _, replication := range []string{"", "database"} {
			err := connect(t, url, replication)
			if (err == nil) != (c.refusedWith == "") || err != nil && !strings.Contains(err.Error(), c.refusedWith) {
				t.Errorf("%s, replication=%q: %v", c.name, replication, err)
			}
		}
	}
}

// connect opens and closes a connection, and returns its explained error.
func connect(t *testing.T, url, replication string) error {
	t.Helper()
	config, err := postgres.Settings{URL: url}.ConnConfig(t.Context())
	if err != nil {
		return err
	}
	if replication != "" {
		config.RuntimeParams["replication"] = replication
	}
	conn, err := pgconn.ConnectConfig(t.Context(), &config.Config)
	if err != nil {
		return postgres.Explain(err)
	}
	return conn.Close(t.Context())
}

func TestMissingDatabaseIsExplained(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgtest.Options{})
	_, err := pgx.Connect(t.Context(), server.URL("nowhere", pgtest.Superuser))
	if err = postgres.Explain(err); err == nil || !strings.Contains(err.Error(), "create it") {
		t.Errorf("%v", err)
	}
}
