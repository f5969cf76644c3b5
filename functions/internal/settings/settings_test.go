package settings_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/functions/internal/settings"
)

func load(variables map[string]string) (settings.Settings, error) {
	return settings.Load(func(name string) string { return variables[name] })
}

const arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:orders-AbCdEf"

func TestEverythingWrongIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := load(map[string]string{settings.DatabaseAuth: "kerberos", settings.LogLevel: "loud"})
	if err == nil {
		t.Fatal("taken")
	}
	for _, name := range []string{settings.DatabaseURL, "PGHOST", settings.DatabaseAuth, settings.LogLevel} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
}

func TestPasswordOfABrokenURLIsNotPrinted(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgres://user:hunter2/hunter2@host/db", "postgres://user:hunter2@host:port/db",
		"postgres://user:%hunter2@host/db",
		"host=h password=hunter2 sslmode=hunter2", "postgres://user:hunter2@host/db?connect_timeout=hunter2",
	} {
		_, err := load(map[string]string{settings.DatabaseURL: url})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestConnectionsAreOneAndLimitedInTime(t *testing.T) {
	t.Parallel()
	s, err := load(map[string]string{settings.DatabaseURL: "postgres://user@host/db", settings.DatabaseSecretARN: arn})
	if err != nil {
		t.Fatal(err)
	}
	conn := s.Database.ConnConfig
	if s.Database.MaxConns != 1 || s.Database.PingTimeout != time.Second || conn.ConnectTimeout != 3*time.Second {
		t.Errorf("pool of %d, ping %s, connect %s", s.Database.MaxConns, s.Database.PingTimeout, conn.ConnectTimeout)
	}
	for _, parameter := range []string{"statement_timeout", "idle_in_transaction_session_timeout"} {
		if conn.RuntimeParams[parameter] != "5000" {
			t.Errorf("%s is %q", parameter, conn.RuntimeParams[parameter])
		}
	}
	if s.Postgres.SecretARN != arn || s.LogLevel != slog.LevelInfo {
		t.Errorf("secret %q, level %s", s.Postgres.SecretARN, s.LogLevel)
	}
}

func TestURLAndLevelWinOverDefaults(t *testing.T) {
	t.Parallel()
	s, err := load(map[string]string{
		settings.DatabaseURL: "postgres://user@host/db?connect_timeout=7&pool_ping_timeout=2s" +
			"&statement_timeout=9&application_name=mine",
		settings.LogLevel: "debug",
	})
	if err != nil {
		t.Fatal(err)
	}
	conn := s.Database.ConnConfig
	if conn.ConnectTimeout != 7*time.Second || s.Database.PingTimeout != 2*time.Second ||
		conn.RuntimeParams["statement_timeout"] != "9" || conn.RuntimeParams["application_name"] != "mine" {
		t.Errorf("connect %s, ping %s, parameters %v", conn.ConnectTimeout, s.Database.PingTimeout, conn.RuntimeParams)
	}
	if s.LogLevel != slog.LevelDebug {
		t.Errorf("level %s", s.LogLevel)
	}
}

// This test is not parallel, because it changes the environment that pgx reads.
func TestLibpqVariablesNameTheDatabase(t *testing.T) {
	for name, value := range map[string]string{
		"PGHOST": "db.example", "PGPORT": "6543", "PGUSER": "writer",
		"PGDATABASE": "shop",
	} {
		t.Setenv(name, value)
	}
	s, err := load(map[string]string{"PGHOST": "db.example"})
	if err != nil {
		t.Fatal(err)
	}
	conn := s.Database.ConnConfig
	if conn.Host != "db.example" || conn.Port != 6543 || conn.User != "writer" || conn.Database != "shop" {
		t.Errorf("%s@%s:%d/%s", conn.User, conn.Host, conn.Port, conn.Database)
	}
}
