// Package settings reads what the functions are told by their environment.
package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Names of the variables. Where DATABASE_URL is empty, libpq's PG* variables say where the database is.
// https://www.postgresql.org/docs/current/libpq-envars.html
const (
	DatabaseURL       = "DATABASE_URL"
	DatabaseSecretARN = "DATABASE_SECRET_ARN"
	LogLevel          = "LOG_LEVEL"
)

// What a connection gets unless DATABASE_URL says otherwise: connect_timeout, pool_ping_timeout, statement_timeout and
// idle_in_transaction_session_timeout are parameters of it.
const (
	// connectTimeout covers name resolution, TLS and authentication of one address. A connect goes on when the request
	// that wanted it has given up, and blocks the pool as long.
	connectTimeout = 3 * time.Second
	// pingTimeout ends the wait for a connection that died while Lambda had frozen the process.
	pingTimeout = time.Second
	// statementTimeout and idleTimeout let Postgres free the locks of a function that was frozen or killed half-way.
	statementTimeout = 5 * time.Second
	idleTimeout      = 5 * time.Second
)

// Settings are the settings of all functions.
type Settings struct {
	Database  *pgxpool.Config
	SecretARN string // of user and password; empty: they are in Database
	LogLevel  slog.Level
}

// Load returns the settings, or everything that is wrong with them.
func Load(getenv func(string) string) (Settings, error) {
	var s Settings
	var problems [3]error
	s.Database, problems[0] = database(getenv)
	s.SecretARN, problems[1] = secretARN(getenv(DatabaseSecretARN))
	s.LogLevel, problems[2] = logLevel(getenv(LogLevel))
	if err := errors.Join(problems[:]...); err != nil {
		return Settings{}, fmt.Errorf("settings: %w", err)
	}
	return s, nil
}

func database(getenv func(string) string) (*pgxpool.Config, error) {
	url := getenv(DatabaseURL)
	if url == "" && getenv("PGHOST") == "" && getenv("PGSERVICE") == "" {
		return nil, fmt.Errorf("%s is empty and so is PGHOST: set one of them to where the database is", DatabaseURL)
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		// The cause quotes parts of the URL, and which part is the password of a broken one cannot be known.
		return nil, fmt.Errorf("%s or a PG* variable cannot be read: a URL looks like "+
			"postgres://user:password@host:5432/database?sslmode=verify-full, with %%xx for special characters, "+
			"and the files it names must exist", DatabaseURL)
	}
	// Lambda gives a process one request at a time.
	// https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
	config.MaxConns = 1
	withDefaults(config)
	return config, nil
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

func secretARN(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	parsed, err := arn.Parse(text)
	if err != nil || parsed.Service != "secretsmanager" || !strings.HasPrefix(parsed.Resource, "secret:") {
		return "", fmt.Errorf("%s %q is not the ARN of a secret: it looks like arn:aws:secretsmanager:eu-west-1:123456789012:secret:name",
			DatabaseSecretARN, text)
	}
	return text, nil
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
