package transport

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// TestCredentialsComeAfterARequestThatHung: the SDK's cache makes no further request while the
// first one runs. The environment alone configures credentials, so this test is not parallel.
func TestCredentialsComeAfterARequestThatHung(t *testing.T) {
	issuer, err := fakeaws.StartIssuer(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = issuer.Close() })
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("web"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, environment := range map[string]map[string]string{
		"container": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": issuer.ContainerURL("me")},
		"STS": {
			"AWS_ENDPOINT_URL_STS": issuer.URL(), "AWS_ROLE_ARN": "arn:aws:iam::000000000000:role/relay",
			"AWS_ROLE_SESSION_NAME": "me", "AWS_WEB_IDENTITY_TOKEN_FILE": token,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("AWS_REGION", "us-east-1")
			for setting, value := range environment {
				t.Setenv(setting, value)
			}
			checkCredentialsAfterHang(t, issuer)
		})
	}
}

func checkCredentialsAfterHang(t *testing.T, issuer *fakeaws.Issuer) {
	t.Helper()
	cfg, err := LoadConfig(t.Context(), 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	issuer.Script(fakeaws.HangRole())
	gaveUp, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := cfg.Credentials.Retrieve(gaveUp); err == nil {
		t.Fatal("a service that hangs handed out credentials")
	}
	issuer.Script(fakeaws.IssuerFault{})
	later, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if got, err := cfg.Credentials.Retrieve(later); err != nil || got.AccessKeyID != "me" {
		t.Errorf("%q, %v", got.AccessKeyID, err)
	}
}
