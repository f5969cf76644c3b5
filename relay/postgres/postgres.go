// Package postgres connects the programs of this project to their database: address, credentials,
// certificates and session parameters.
package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Settings are the connection settings. The PG* variables of libpq complete the URL.
// https://www.postgresql.org/docs/current/libpq-envars.html
type Settings struct {
	URL       string // DATABASE_URL
	Auth      string // DATABASE_AUTH: one of the constants; empty: AuthSecret with a SecretARN, else AuthPassword
	SecretARN string // DATABASE_SECRET_ARN
}

// How to authenticate to the database.
const (
	AuthPassword = "password" // in the URL, PGPASSWORD or libpq's password file
	AuthSecret   = "secret"   // in AWS Secrets Manager
	AuthIAM      = "iam"      // an IAM authentication token
)

// trimmed returns the settings without surrounding white space. Settings that come from a file
// often end with its line break.
func (s Settings) trimmed() Settings {
	return Settings{
		URL: strings.TrimSpace(s.URL), Auth: strings.TrimSpace(s.Auth), SecretARN: strings.TrimSpace(s.SecretARN),
	}
}

func (s Settings) auth() string {
	if s.Auth == "" && s.SecretARN != "" {
		return AuthSecret
	}
	return cmp.Or(s.Auth, AuthPassword)
}

// Parse returns the settings for pgx, without those that are only known at a connect: see
// [Settings.Authenticate]. The error names every problem, and quotes no part of the URL, which may
// contain a password.
func (s Settings) Parse() (*pgxpool.Config, error) {
	s = s.trimmed()
	if err := checkURL(s.URL); err != nil {
		return nil, errors.Join(err, s.checkAuth())
	}
	config, err := pgxpool.ParseConfig(s.URL)
	if err != nil {
		// The cause quotes parts of the URL, and any part of a malformed URL may be the password.
		err = errors.New("DATABASE_URL or a PG* variable cannot be read: a URL looks like " +
			"postgres://user:password@host:5432/database?sslmode=verify-full, with %xx for special characters, " +
			"and the files it names must exist")
		return nil, errors.Join(err, s.checkAuth())
	}
	if err := checkParameters(&config.ConnConfig.Config); err != nil {
		return nil, errors.Join(err, s.checkAuth())
	}
	if s.auth() != AuthPassword || isRDS(config.ConnConfig.Host) {
		verifyFull(&config.ConnConfig.Config)
	}
	trust(&config.ConnConfig.Config)
	PinTexts(&config.ConnConfig.Config)
	if err := errors.Join(s.checkAuth(), s.checkIAM(config.ConnConfig)); err != nil {
		return nil, err
	}
	return config, nil
}

// ConnConfig returns the configuration of one connection. Its password may be invalid later.
func (s Settings) ConnConfig(ctx context.Context) (*pgx.ConnConfig, error) {
	config, err := s.Parse()
	if err != nil {
		return nil, err
	}
	if err := s.Authenticate(ctx, config.ConnConfig); err != nil {
		return nil, err
	}
	return config.ConnConfig, nil
}

// Authenticate sets the credentials of conn. It is called before every connect, because a password
// is rotated and a token expires after 15 minutes.
func (s Settings) Authenticate(ctx context.Context, conn *pgx.ConnConfig) error {
	ctx, cancel := context.WithTimeout(ctx, authTimeout)
	defer cancel()
	s = s.trimmed()
	switch s.auth() {
	case AuthSecret:
		return s.readSecret(ctx, conn)
	case AuthIAM:
		return createToken(ctx, conn)
	}
	return nil
}

func (s Settings) checkAuth() error {
	switch s.Auth {
	case "", AuthPassword, AuthSecret, AuthIAM:
	default:
		return fmt.Errorf("DATABASE_AUTH %q is none of %s, %s, %s", s.Auth, AuthPassword, AuthSecret, AuthIAM)
	}
	if s.auth() != AuthSecret {
		if s.SecretARN != "" {
			return fmt.Errorf("DATABASE_SECRET_ARN is set, and DATABASE_AUTH=%s does not read it: unset one of them",
				s.Auth)
		}
		return nil
	}
	secret, err := arn.Parse(s.SecretARN)
	if err != nil || secret.Service != "secretsmanager" || !strings.HasPrefix(secret.Resource, "secret:") {
		return fmt.Errorf("DATABASE_SECRET_ARN %q is not the ARN of a secret, which looks like "+
			"arn:aws:secretsmanager:eu-west-1:123456789012:secret:name", s.SecretARN)
	}
	return nil
}

// checkIAM refuses settings that a token does not support, and connections on which it could be
// read.
func (s Settings) checkIAM(conn *pgx.ConnConfig) error {
	if s.auth() != AuthIAM {
		return nil
	}
	var problems []error
	if conn.TLSConfig == nil || len(conn.Fallbacks) > 0 {
		problems = append(problems, errors.New("DATABASE_AUTH=iam needs one host, and TLS without a fallback: "+
			"name one host in DATABASE_URL, and no sslmode"))
	}
	if conn.User == "" {
		problems = append(problems, errors.New("DATABASE_AUTH=iam needs a role: name it in DATABASE_URL, as in "+
			"postgres://role@host:5432/database"))
	}
	return errors.Join(problems...)
}
