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
	for _, wrong := range []struct {
		settings postgres.Settings
		names    []string
	}{
		{postgres.Settings{URL: rdsURL, Auth: "kerberos"}, []string{"DATABASE_AUTH"}},
		{postgres.Settings{URL: rdsURL, Auth: postgres.AuthSecret}, []string{"DATABASE_SECRET_ARN"}},
		{postgres.Settings{URL: rdsURL, SecretARN: "arn:aws:s3:::bucket"}, []string{"DATABASE_SECRET_ARN"}},
		{postgres.Settings{URL: rdsURL, Auth: postgres.AuthIAM, SecretARN: secretARN}, []string{"DATABASE_AUTH", "DATABASE_SECRET_ARN"}},
		{postgres.Settings{URL: rdsURL, Auth: postgres.AuthPassword, SecretARN: secretARN}, []string{"DATABASE_AUTH", "DATABASE_SECRET_ARN"}},
		{postgres.Settings{URL: rdsURL + "?sslmode=disable", Auth: postgres.AuthIAM}, []string{"DATABASE_AUTH=iam", "TLS"}},
		{postgres.Settings{URL: rdsURL + "?sslmode=allow", Auth: postgres.AuthIAM}, []string{"DATABASE_AUTH=iam", "TLS"}},
		{postgres.Settings{URL: "postgres://relay@a,b/outbox", Auth: postgres.AuthIAM}, []string{"DATABASE_AUTH=iam", "one host"}},
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

func TestPasswordOfABrokenURLIsNotTold(t *testing.T) {
	t.Parallel()
	for _, broken := range []string{
		"postgres://user:hunter2/hunter2@host/db", "postgres://user:hunter2@host:port/db", "postgres://user:%hunter2@host/db",
		"host=h password=hunter2 sslmode=hunter2",
	} {
		_, err := postgres.Settings{URL: broken}.Parse()
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", broken, err)
		}
	}
}

// inEnvironment gives the AWS SDK, which reads it for itself, an environment. Tests that use it run alone.
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
