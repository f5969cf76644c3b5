package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
)

// relayReady returns nil if the relay streams, or waits as a standby for one that does.
func (s *Stack) relayReady(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+local(s.Ports.Relay)+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("ask the relay: %w", err)
	}
	response, err := s.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask the relay: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	reason, err := io.ReadAll(io.LimitReader(response.Body, 500))
	if err != nil {
		return fmt.Errorf("ask the relay: %w", err)
	}
	return fmt.Errorf("the relay says %s: %s", response.Status, strings.TrimSpace(string(reason)))
}

// brokerReady returns nil if SQS answers. In LocalStack that is later than its health page.
func (s *Stack) brokerReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client := sqs.NewFromConfig(messaging.Config(s.Ports.Endpoint()), func(o *sqs.Options) { o.RetryMaxAttempts = 1 })
	if _, err := client.ListQueues(ctx, &sqs.ListQueuesInput{}); err != nil {
		return fmt.Errorf("ask the broker: %w", err)
	}
	return nil
}

// createDatabase waits for the server, creates the role and the database if they do not exist, and
// returns the server's version.
func createDatabase(ctx context.Context, superuserURL string) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	conn, err := connect(ctx, superuserURL)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	for _, missing := range []struct{ statement, exists string }{
		{"CREATE ROLE outbox LOGIN PASSWORD 'outbox'", "42710"}, // owns the tables
		{"ALTER ROLE outbox REPLICATION", ""},                   // so that relay check passes with the owner's URL too
		{"CREATE ROLE outbox_relay LOGIN REPLICATION PASSWORD 'outbox_relay'", "42710"},
		{"CREATE ROLE outbox_producer LOGIN PASSWORD 'outbox_producer'", "42710"},
		{"CREATE DATABASE outbox OWNER outbox", "42P04"},
	} {
		if err := create(ctx, conn, missing.statement, missing.exists); err != nil {
			return "", err
		}
	}
	version, _, _ = strings.Cut(conn.PgConn().ParameterStatus("server_version"), " ")
	return version, nil
}

// create runs a statement. The error code exists, which means that the object exists, counts as
// success. An empty code accepts no error.
func create(ctx context.Context, conn *pgx.Conn, statement, exists string) error {
	_, err := conn.Exec(ctx, statement)
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == exists {
		return nil
	}
	if err != nil {
		return fmt.Errorf("create the database: %w", err)
	}
	return nil
}

// connect retries until the server accepts connections. The image of Postgres first starts a server
// on a socket for the initialisation. Only the second server listens on TCP.
func connect(ctx context.Context, url string) (*pgx.Conn, error) {
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			return conn, nil
		}
		if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code != "57P03" {
			return nil, fmt.Errorf("connect to Postgres: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("postgres takes no connection: %w: see make localstack-logs PART=postgres", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
