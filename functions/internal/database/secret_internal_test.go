package database

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/functions/internal/settings"
	"github.com/outbox-relay/outbox-relay/localstack/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

const testARN = "arn:aws:secretsmanager:us-east-1:000000000000:secret:orders"

// newTestSecret returns a secret that Secrets Manager answers with whatever text holds at the time.
func newTestSecret(t *testing.T, text *atomic.Value) *secret {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request struct{ SecretId string }
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil || request.SecretId != testARN {
			http.Error(w, "which secret?", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		fmt.Fprintf(w, `{"SecretString":%q}`, text.Load())
	}))
	t.Cleanup(server.Close)
	client := secretsmanager.New(secretsmanager.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	return &secret{client: client, arn: testARN}
}

// Postgres may trust everybody in tests, so the test looks at what a connect would send.
func TestSecretIsReadAnewForEveryConnection(t *testing.T) {
	t.Parallel()
	var text atomic.Value
	text.Store(`{"username":"writer","password":"first"}`)
	s := newTestSecret(t, &text)
	for _, rotated := range []struct{ text, user, password string }{
		{`{"username":"writer","password":"first","engine":"postgres","port":5432}`, "writer", "first"},
		{`{"username":"writer_clone","password":"second"}`, "writer_clone", "second"},
		{`third`, "asked", "third"},
		{`{no JSON`, "asked", "{no JSON"},
	} {
		text.Store(rotated.text)
		conn, err := pgx.ParseConfig("postgres://asked@host/db")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.authenticate(t.Context(), conn); err != nil || conn.User != rotated.user || conn.Password != rotated.password {
			t.Errorf("secret %s: user %q, password %q, %v", rotated.text, conn.User, conn.Password, err)
		}
	}
}

func TestSecretWithoutAPasswordIsRefusedAndNotTold(t *testing.T) {
	t.Parallel()
	for _, held := range []string{"", "{}", `{"username":"hunter2"}`} {
		var text atomic.Value
		text.Store(held)
		err := newTestSecret(t, &text).authenticate(t.Context(), &pgx.ConnConfig{})
		if err == nil || !strings.Contains(err.Error(), testARN) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("secret %q: %v", held, err)
		}
	}
}

func TestPoolConnectsAsTheSecretSays(t *testing.T) {
	t.Parallel()
	target := pgtest.NewDatabase(t)
	withoutUser, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := withoutUser.User.Password()
	var text atomic.Value
	text.Store(fmt.Sprintf(`{"username":%q,"password":%q}`, withoutUser.User.Username(), password))
	withoutUser.User = url.User("nobody_of_this_name")
	config, err := pgxpool.ParseConfig(withoutUser.String())
	if err != nil {
		t.Fatal(err)
	}
	config.BeforeConnect = newTestSecret(t, &text).authenticate
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
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
	conn, err := Connect(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	pool, err := Open(ctx, s)
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
