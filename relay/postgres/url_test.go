package postgres_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// TestPasswordThatEndsEarlyIsRefused: the rest would be a host, which is looked up, or a database,
// which is printed.
func TestPasswordThatEndsEarlyIsRefused(t *testing.T) {
	t.Parallel()
	for url, encoded := range map[string]string{
		"postgres://u:hunter@2/hunter3@127.0.0.1/db":     "@ as %40, / as %2F",
		"postgres://u:hunter@2@127.0.0.1/db":             "@ as %40",
		"postgres://u:1234/hunter@127.0.0.1/db":          "/ as %2F",
		"postgres://u:1234?hunter/2@127.0.0.1/db":        "/ as %2F, ? as %3F",
		"postgresql://u:1234/hunter#2@127.0.0.1:5432/db": "/ as %2F, # as %23",
		"postgres://u:hunter@h/db?x=hunter/2@host/":      "@ as %40, / as %2F, ? as %3F",
		"postgres://u:1/2?hunter=3@127.0.0.1/db?user=x":  "/ as %2F",
		"postgres://hunter/2@127.0.0.1/db":               "@ as %40",
		"postgres://u:hunter@2/3@h1,h2:5433/db":          "@ as %40, / as %2F",
	} {
		_, err := postgres.Settings{URL: url}.Parse()
		if err == nil || !strings.Contains(err.Error(), "percent-encode") || !strings.Contains(err.Error(), encoded) {
			t.Errorf("%s: %v, want %s", url, err, encoded)
		} else if strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: a part of the password is in the error: %v", url, err)
		}
	}
}

func TestValidURLsAreAccepted(t *testing.T) {
	t.Parallel()
	for url, password := range map[string]string{
		"postgres://u:p%40ss%2Fword@127.0.0.1/db":                      "p@ss/word",
		"postgres://u:p?s#s&w:rd@127.0.0.1:5432/db?sslmode=disable":    "p?s#s&w:rd", // nothing ends it
		"postgres://127.0.0.1/db?user=me@server&password=p@ss":         "p@ss",
		"postgres://127.0.0.1/db?pass%77ord=x":                         "x",
		"postgres://u:x@127.0.0.1/db?statement_timeout=5&app.tenant=1": "x",
		"host=127.0.0.1 user=me@server password='p@ s/'":               "p@ s/",
		"postgres://u:x@h1:5432,h2:5433/db":                            "x",
	} {
		config, err := postgres.Settings{URL: url}.Parse()
		if err != nil {
			t.Errorf("%s: %v", url, err)
		} else if got := config.ConnConfig.Password; got != password {
			t.Errorf("%s: the password is %q, want %q", url, got, password)
		}
	}
}

// TestInvalidParametersAreNotPrinted: they follow a character that ends the password.
func TestInvalidParametersAreNotPrinted(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"jdbc:postgresql://127.0.0.1/db?user=u&password=hunter2",
		"postgres://127.0.0.1/db?password=x&hunter-2=y",
		"password=x hun'ter=2 host=127.0.0.1",
	} {
		_, err := postgres.Settings{URL: url}.Parse()
		if err == nil || strings.Contains(err.Error(), "hunter") || strings.Contains(err.Error(), "hun'ter") {
			t.Errorf("%s: %v", url, err)
		}
	}
	config, err := postgres.Settings{URL: pgtest.NewDatabase(t) + "&password=x&hunter=2"}.Parse()
	if err != nil {
		t.Fatal(err)
	}
	_, err = pgx.ConnectConfig(t.Context(), config.ConnConfig)
	var refused *pgconn.PgError
	explained := postgres.Explain(err)
	if !errors.As(explained, &refused) || strings.Contains(explained.Error(), "hunter") ||
		!strings.Contains(explained.Error(), "%26") {
		t.Errorf("the server's answer about an unknown setting is %v", explained)
	}
}

func TestServerWithoutTLSIsReportedWithTheRemedy(t *testing.T) {
	t.Parallel()
	url := strings.Replace(pgtest.NewDatabase(t), "sslmode=disable", "sslmode=verify-full", 1)
	config, err := postgres.Settings{URL: url}.Parse()
	if err != nil {
		t.Fatal(err)
	}
	_, err = pgx.ConnectConfig(t.Context(), config.ConnConfig)
	explained := postgres.Explain(err)
	if explained == nil || !strings.Contains(explained.Error(), "ssl = on") || postgres.IsTransient(err) {
		t.Errorf("a server without TLS: %v", explained)
	}
}

// With sslmode=prefer, the default, an attempt with TLS precedes the one that the server answers.
func TestTheAnswerWithoutTLSIsExplained(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgtest.Options{})
	admin, err := pgx.Connect(t.Context(), server.URL("postgres", pgtest.Superuser))
	if err != nil {
		t.Fatal(err)
	}
	_, err = admin.Exec(t.Context(), `CREATE ROLE secured LOGIN PASSWORD 'x'; CREATE ROLE busy LOGIN CONNECTION LIMIT 0;
		CREATE ROLE open LOGIN`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = admin.Exec(t.Context(), `CREATE DATABASE "full" CONNECTION LIMIT 0`); err != nil {
		t.Fatal(err)
	}
	_ = admin.Close(t.Context())
	err = server.Authenticate(t.Context(),
		"host all secured 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ database, role, remedy string }{
		{"postgres", "secured", "check user and password"},
		{"nowhere", "open", "create it"},
		{"postgres", "busy", `ALTER ROLE "busy" CONNECTION LIMIT`},
		{"full", "open", `ALTER DATABASE "full" CONNECTION LIMIT`},
	} {
		address := strings.Replace(server.URL(c.database, c.role), "sslmode=disable", "sslmode=prefer&password=y", 1)
		config, err := postgres.Settings{URL: address}.Parse()
		if err != nil {
			t.Fatal(err)
		}
		_, err = pgx.ConnectConfig(t.Context(), config.ConnConfig)
		explained := postgres.Explain(err)
		if explained == nil || !strings.Contains(explained.Error(), c.remedy) ||
			strings.Contains(explained.Error(), "ssl = on") {
			t.Errorf("%s in %s: %v", c.role, c.database, explained)
		}
		if again := postgres.WithRemedy(err); strings.Contains(c.remedy, "LIMIT") &&
			!strings.Contains(again.Error(), c.remedy) {
			t.Errorf("a running relay says %v", again)
		}
	}
}

const rdsProxyRefusal = "Feature not supported: RDS Proxy currently doesn\u2019t support streaming replication mode"

func TestPoolersAreNotTransient(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code, message string
		pooler        bool
	}{
		"PgBouncer":           {"08P01", "unsupported startup parameter: statement_timeout", true},
		"PgBouncer, options":  {"08P01", "unsupported startup parameter in options: search_path", true},
		"PgBouncer, old":      {"08P01", "Unsupported startup parameter: replication", true},
		"RDS Proxy":           {"0A000", rdsProxyRefusal, true},
		"transaction pooling": {"42P05", `prepared statement "stmtcache_1" already exists`, true},
		"lost statement":      {"26000", `prepared statement "stmtcache_1" does not exist`, true},
		"unreachable server":  {"08P01", "server login has been failing, try again later", false},
		"transaction timeout": {"25P04", "terminating connection due to transaction timeout", false},
		"starting up":         {"57P03", "the database system is starting up", false},
	} {
		err := &pgconn.PgError{Code: c.code, Message: c.message}
		explained := postgres.Explain(err).Error()
		if postgres.IsPooler(err) != c.pooler || postgres.IsTransient(err) == c.pooler ||
			strings.Contains(explained, "pooler") != c.pooler {
			t.Errorf("%s: pooler %v, transient %v: %s",
				name, postgres.IsPooler(err), postgres.IsTransient(err), explained)
		}
	}
}
