package database_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/functions/internal/database"
	"github.com/outbox-relay/outbox-relay/functions/internal/settings"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// This test is not parallel, because it changes the environment that the AWS SDK reads.
func TestPoolConnectsAsTheSecretSays(t *testing.T) {
	aws, err := fakeaws.Start(fakeaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = aws.Close() })
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": aws.URL(), "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test",
		"AWS_SECRET_ACCESS_KEY": "test",
	} {
		t.Setenv(name, value)
	}
	const arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:orders"
	target, err := url.Parse(pgtest.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := target.User.Password()
	aws.PutSecret(arn, fmt.Sprintf(`{"username":%q,"password":%q}`, target.User.Username(), password))
	target.User = url.User("nobody_of_this_name")
	s, err := settings.Load(func(name string) string {
		return map[string]string{settings.DatabaseURL: target.String(), settings.DatabaseSecretARN: arn}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := database.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	var user string
	if err := pool.QueryRow(t.Context(), `SELECT current_user`).Scan(&user); err != nil || user != pgtest.Role {
		t.Errorf("connected as %q: %v", user, err)
	}
}

func TestMigrationsHaveNoStatementTimeout(t *testing.T) {
	t.Parallel()
	target := pgtest.NewDatabase(t)
	s, err := settings.Load(func(name string) string { return map[string]string{settings.DatabaseURL: target}[name] })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := database.Connect(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	pool, err := database.Open(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var migration, request string
	if err := conn.QueryRow(ctx, `SHOW statement_timeout`).Scan(&migration); err != nil {
		t.Fatal(err)
	}
	if err := pool.QueryRow(ctx, `SHOW statement_timeout`).Scan(&request); err != nil {
		t.Fatal(err)
	}
	if migration != "0" || request != "5s" {
		t.Errorf("statement_timeout of a migration %s, of a request %s", migration, request)
	}
}
