package postgres_test

import (
	"os"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

const (
	secretARN = "arn:aws:secretsmanager:us-east-1:000000000000:secret:orders"
	rdsURL    = "postgres://relay@orders.abc123.eu-central-1.rds.amazonaws.com/outbox"
)

func TestSettingsThatContradictEachOtherAreNamed(t *testing.T) {
	t.Parallel()
	auth, secret := "DATABASE_AUTH", "DATABASE_SECRET_ARN"
	for _, wrong := range []struct {
		settings postgres.Settings
		names    []string
	}{
		{postgres.Settings{URL: rdsURL, Auth: "kerberos"}, []string{"DATABASE_AUTH"}},
		{postgres.Settings{URL: rdsURL, Auth: postgres.AuthSecret}, []string{"DATABASE_SECRET_ARN"}},
		{postgres.Settings{URL: rdsURL, SecretARN: "arn:aws:s3:::bucket"}, []string{"DATABASE_SECRET_ARN"}},
		{postgres.Settings{URL: rdsURL, Auth: postgres.AuthIAM, SecretARN: secretARN}, []string{auth, secret}},
		{postgres.Settings{URL: rdsURL, Auth: postgres.AuthPassword, SecretARN: secretARN}, []string{auth, secret}},
		{postgres.Settings{URL: rdsURL + "?sslmode=disable", Auth: postgres.AuthIAM}, []string{auth + "=iam", "TLS"}},
		{postgres.Settings{URL: rdsURL + "?sslmode=allow", Auth: postgres.AuthIAM}, []string{auth + "=iam", "TLS"}},
		{
			postgres.Settings{URL: "postgres://relay@a,b/outbox", Auth: postgres.AuthIAM},
			[]string{auth + "=iam", "one host"},
		},
		{postgres.Settings{URL: "postgres://%zz", Auth: "kerberos"}, []string{"DATABASE_URL", "DATABASE_AUTH"}},
	} {
		_, err := wrong.settings.Parse()
		for _, name := range wrong.names {
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%+v: %v, want %s named", wrong.settings, err, name)
			}
		}
	}
}

func TestPasswordOfABrokenURLIsNotPrinted(t *testing.T) {
	t.Parallel()
	for _, broken := range []string{
		"postgres://user:hunter2/hunter2@host/db", "postgres://user:hunter2@host:port/db",
		"postgres://user:%hunter2@host/db",
		"host=h password=hunter2 sslmode=hunter2",
	} {
		_, err := postgres.Settings{URL: broken}.Parse()
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", broken, err)
		}
	}
}

// inEnvironment sets environment variables for the AWS SDK. Tests that use it cannot run in
// parallel.
func inEnvironment(t *testing.T, variables map[string]string) {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
	} {
		t.Setenv(name, value)
	}
	for name, value := range variables {
		t.Setenv(name, value)
	}
}
