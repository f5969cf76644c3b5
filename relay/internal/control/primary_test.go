package control_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/control"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// The standby is the first host, and answers.
func TestSessionsAreOnThePrimary(t *testing.T) {
	t.Parallel()
	primary := pgtest.NewServer(t, pgtest.Options{AtLeast: 17})
	standby := pgtest.NewStandby(t, primary, nil)
	host := func(s *pgtest.Server) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port())) }
	both := strings.Replace(primary.URL("postgres", pgtest.Superuser), host(primary),
		host(standby)+","+host(primary), 1)
	for _, attribute := range []string{"", "any", "read-only", "standby", "prefer-standby"} {
		connect := func(context.Context) (*pgx.ConnConfig, error) {
			if attribute == "" {
				return pgx.ParseConfig(both)
			}
			return pgx.ParseConfig(both + "&target_session_attrs=" + attribute)
		}
		pool, err := control.OpenPoolWith(t.Context(), connect, &control.Learned{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { control.Close(pool) })
		var recovering bool
		if err := pool.QueryRow(t.Context(), `SELECT pg_is_in_recovery()`).Scan(&recovering); err != nil || recovering {
			t.Errorf("target_session_attrs %q: a standby: %v, %v", attribute, recovering, err)
		}
	}
}

// A session waits for the promotion, and a command can report the standby.
func TestOnlyACommandConnectsToAStandby(t *testing.T) {
	t.Parallel()
	standby := pgtest.NewStandby(t, pgtest.NewServer(t, pgtest.Options{AtLeast: 17}), nil)
	connect := func(context.Context) (*pgx.ConnConfig, error) {
		return pgx.ParseConfig(standby.URL("postgres", pgtest.Superuser))
	}
	session, err := control.OpenPoolWith(t.Context(), connect, &control.Learned{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { control.Close(session) })
	if err := session.Ping(t.Context()); err == nil || !postgres.IsTransient(err) {
		t.Errorf("a session connects to the standby: %v", err)
	}
	command, err := control.OpenPool(t.Context(), connect)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { control.Close(command) })
	if err := command.Ping(t.Context()); err != nil {
		t.Error(fmt.Errorf("a command: %w", err))
	}
}
