package postgres_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

func startAWS(t *testing.T) *fakeaws.Server {
	t.Helper()
	aws, err := fakeaws.Start(fakeaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = aws.Close() })
	inEnvironment(t, map[string]string{"AWS_ENDPOINT_URL": aws.URL()})
	return aws
}

func TestSecretIsReadForEveryConnection(t *testing.T) {
	aws := startAWS(t)
	settings := postgres.Settings{URL: "postgres://asked@host/db", SecretARN: secretARN}
	for _, rotated := range []struct{ text, user, password string }{
		{`{"username":"writer","password":"first","engine":"postgres","port":5432}`, "writer", "first"},
		{`{"username":"writer_clone","password":"second"}`, "writer_clone", "second"},
		{`third`, "asked", "third"},
		{" third \r\n", "asked", " third "},
		{`{no JSON`, "asked", "{no JSON"},
	} {
		aws.PutSecret(secretARN, rotated.text)
		conn, err := settings.ConnConfig(t.Context())
		if err != nil || conn.User != rotated.user || conn.Password != rotated.password {
			t.Errorf("secret %s: user %q, password %q, %v", rotated.text, conn.User, conn.Password, err)
		}
	}
}

// TestWhiteSpaceAroundSettingsIsIgnored: a setting from a file ends with the file's line break.
func TestWhiteSpaceAroundSettingsIsIgnored(t *testing.T) {
	aws := startAWS(t)
	aws.PutSecret(secretARN, "third")
	for _, address := range []string{
		"postgres://asked:x@host/db?sslmode=require", "host=host user=asked dbname=db sslmode=require password=x",
	} {
		for _, settings := range []postgres.Settings{
			{URL: "\t " + address + " \r\n"},
			{URL: address + "\n", Auth: "secret\n", SecretARN: " " + secretARN + "\n"},
		} {
			conn, err := settings.ConnConfig(t.Context())
			if err != nil {
				t.Errorf("%q: %v", settings.URL, err)
				continue
			}
			if conn.Host != "host" || conn.User != "asked" || conn.Database != "db" || conn.TLSConfig == nil ||
				strings.TrimSpace(conn.ConnString()) != conn.ConnString() {
				t.Errorf("%q: %q, %q, %q", settings.URL, conn.Host, conn.User, conn.Database)
			}
		}
	}
}

func TestSecretWithoutAPasswordIsNotPrinted(t *testing.T) {
	aws := startAWS(t)
	for _, held := range []string{"", "{}", `{"username":"hunter2"}`} {
		aws.PutSecret(secretARN, held)
		_, err := postgres.Settings{URL: "postgres://host/db", SecretARN: secretARN}.ConnConfig(t.Context())
		if err == nil || !strings.Contains(err.Error(), secretARN) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("secret %q: %v", held, err)
		}
	}
}

func TestRotatedPasswordOpensTheNextConnection(t *testing.T) {
	aws := startAWS(t)
	server := pgtest.NewServer(t, pgtest.Options{})
	admin, err := pgx.Connect(t.Context(), server.URL("postgres", pgtest.Superuser))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	rotate := func(password string) {
		if _, err := admin.Exec(t.Context(), "ALTER ROLE writer PASSWORD '"+password+"'"); err != nil {
			t.Fatal(err)
		}
		aws.PutSecret(secretARN, `{"username":"writer","password":"`+password+`"}`)
	}
	if _, err := admin.Exec(t.Context(), "CREATE ROLE writer LOGIN"); err != nil {
		t.Fatal(err)
	}
	if err := server.Authenticate(t.Context(), "host all all 127.0.0.1/32 scram-sha-256"); err != nil {
		t.Fatal(err)
	}
	settings := postgres.Settings{URL: server.URL("postgres", "another"), SecretARN: secretARN}
	for _, password := range []string{"first", "second"} {
		rotate(password)
		config, err := settings.ConnConfig(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err != nil {
			t.Fatalf("with the password %s: %v", password, err)
		}
		_ = conn.Close(t.Context())
	}
	aws.PutSecret(secretARN, `{"username":"writer","password":"wrong"}`)
	config, err := settings.ConnConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = pgx.ConnectConfig(t.Context(), config)
	if err = postgres.Explain(err); err == nil || !strings.Contains(err.Error(), "DATABASE_SECRET_ARN") {
		t.Errorf("a wrong password: %v", err)
	}
}

func TestEveryConnectionGetsItsOwnToken(t *testing.T) {
	inEnvironment(t, nil)
	for _, wanted := range []struct{ url, address, region string }{
		// The host's region takes precedence over the environment's.
		{rdsURL, "orders.abc123.eu-central-1.rds.amazonaws.com:5432", "eu-central-1"},
		{"postgres://relay@db.internal:6543/outbox", "db.internal:6543", "us-east-1"},
		{
			"postgres://relay@orders.abc123.rds.cn-north-1.amazonaws.com.cn/outbox",
			"orders.abc123.rds.cn-north-1.amazonaws.com.cn:5432", "cn-north-1",
		},
	} {
		// The credentials of a container change.
		for _, key := range []string{"AKIDFIRST", "AKIDSECOND"} {
			t.Setenv("AWS_ACCESS_KEY_ID", key)
			conn, err := postgres.Settings{URL: wanted.url, Auth: postgres.AuthIAM}.ConnConfig(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			token, err := url.Parse("https://" + conn.Password)
			if err != nil {
				t.Fatalf("token %q: %v", conn.Password, err)
			}
			query := token.Query()
			scope := strings.Split(query.Get("X-Amz-Credential"), "/")
			if token.Host != wanted.address || query.Get("Action") != "connect" || query.Get("DBUser") != "relay" ||
				len(scope) != 5 || scope[0] != key || scope[2] != wanted.region || scope[3] != "rds-db" ||
				query.Get("X-Amz-Expires") != "900" {
				t.Errorf("token for %s is %s", wanted.url, conn.Password)
			}
		}
	}
}

func TestTokenNeedsARegion(t *testing.T) {
	inEnvironment(t, map[string]string{"AWS_REGION": "", "AWS_CONFIG_FILE": "/dev/null"})
	settings := postgres.Settings{URL: "postgres://relay@db.internal/outbox", Auth: postgres.AuthIAM}
	_, err := settings.ConnConfig(t.Context())
	if err == nil || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Errorf("without a region: %v", err)
	}
}

// TestACredentialsRequestThatHangsEnds: nothing of a connect that was given up continues.
func TestACredentialsRequestThatHangsEnds(t *testing.T) {
	asked, ended := make(chan struct{}, 100), make(chan struct{}, 100)
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	}))
	defer endpoint.Close()
	inEnvironment(t, map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_CONFIG_FILE": "/dev/null",
		"AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_CONTAINER_CREDENTIALS_FULL_URI": endpoint.URL,
	})
	for name, settings := range map[string]postgres.Settings{
		"token":  {URL: rdsURL, Auth: postgres.AuthIAM},
		"secret": {URL: "postgres://host/db", SecretARN: secretARN},
	} {
		if _, err := settings.ConnConfig(t.Context()); err == nil {
			t.Errorf("%s: made without credentials", name)
		}
		<-asked
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the request for credentials continues", name)
			endpoint.CloseClientConnections()
			<-ended
		}
	}
}
