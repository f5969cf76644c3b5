// Package settings reads the settings of the functions from their environment.
package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// Names of the variables. If DATABASE_URL is empty, libpq's PG* variables locate the database.
// https://www.postgresql.org/docs/current/libpq-envars.html
const (
	DatabaseURL       = "DATABASE_URL"
	DatabaseAuth      = "DATABASE_AUTH"
	DatabaseSecretARN = "DATABASE_SECRET_ARN"
	LogLevel          = "LOG_LEVEL"
)

// Defaults of a connection. DATABASE_URL overrides them with its parameters connect_timeout,
// pool_ping_timeout, statement_timeout and idle_in_transaction_session_timeout.
const (
	// connectTimeout covers name resolution, TLS and authentication of one address. A connection
	// attempt continues after its request has given up, and blocks the pool until then.
	connectTimeout = 3 * time.Second
	// pingTimeout ends the wait for a connection that died while Lambda had frozen the process.
	pingTimeout = time.Second
	// statementTimeout and idleTimeout make Postgres release the locks of a function that was
	// frozen or killed.
	statementTimeout = 5 * time.Second
	idleTimeout      = 5 * time.Second
)

// Settings are the settings of all functions.
type Settings struct {
	Database *pgxpool.Config
	Postgres postgres.Settings // Database is made from it; read again for each connection
	LogLevel slog.Level
}

// Load returns the settings, or all of their problems.
func Load(getenv func(string) string) (Settings, error) {
	s := Settings{Postgres: postgres.Settings{
		URL: getenv(DatabaseURL), Auth: getenv(DatabaseAuth), SecretARN: getenv(DatabaseSecretARN),
	}}
	var problems [3]error
	if s.Postgres.URL == "" && getenv("PGHOST") == "" && getenv("PGSERVICE") == "" {
		problems[0] = fmt.Errorf("%s is empty and so is PGHOST: set one of them to where the database is", DatabaseURL)
	}
	s.Database, problems[1] = s.Postgres.Parse()
	s.LogLevel, problems[2] = logLevel(getenv(LogLevel))
	if err := errors.Join(problems[:]...); err != nil {
		return Settings{}, fmt.Errorf("settings: %w", err)
	}
	// Lambda sends a process one request at a time.
	// https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
	s.Database.MaxConns = 1
	withDefaults(s.Database)
	return s, nil
}

func withDefaults(config *pgxpool.Config) {
	if config.PingTimeout == 0 {
		config.PingTimeout = pingTimeout
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	for parameter, value := range map[string]string{
		"application_name":                    "orders",
		"statement_timeout":                   fmt.Sprint(statementTimeout.Milliseconds()),
		"idle_in_transaction_session_timeout": fmt.Sprint(idleTimeout.Milliseconds()),
	} {
		if _, set := config.ConnConfig.RuntimeParams[parameter]; !set {
			config.ConnConfig.RuntimeParams[parameter] = value
		}
	}
}

func logLevel(text string) (level slog.Level, err error) {
	if text == "" {
		return slog.LevelInfo, nil
	}
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return 0, fmt.Errorf("%s %q is none of debug, info, warn, error", LogLevel, text)
	}
	return level, nil
}
