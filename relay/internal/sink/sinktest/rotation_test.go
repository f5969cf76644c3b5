package sinktest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

// keyFile is a credentials file with one profile.
type keyFile struct {
	t    *testing.T
	path string
}

func newKeyFile(t *testing.T, accessKeyID string) keyFile {
	t.Helper()
	f := keyFile{t, filepath.Join(t.TempDir(), "credentials")}
	f.write(accessKeyID)
	return f
}

func (f keyFile) write(accessKeyID string) {
	f.t.Helper()
	text := fmt.Sprintf("[relay]\naws_access_key_id = %s\naws_secret_access_key = secret\n", accessKeyID)
	if err := os.WriteFile(f.path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f keyFile) load(endpoint string) aws.Config {
	f.t.Helper()
	cfg, err := transport.LoadConfig(f.t.Context(), requestTimeout, awsconfig.WithRegion("us-east-1"),
		awsconfig.WithSharedCredentialsFiles([]string{f.path}), awsconfig.WithSharedConfigFiles(nil),
		awsconfig.WithSharedConfigProfile("relay"), awsconfig.WithBaseEndpoint(endpoint))
	if err != nil {
		f.t.Fatal(err)
	}
	return cfg
}

// TestRotatedKeysAreReadFromTheFile: also if the answer denies access, as to a session that was
// revoked.
func TestRotatedKeysAreReadFromTheFile(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]fakeaws.Fault{
		"unknown": fakeaws.RefuseToken(), "expired": fakeaws.ExpireToken(), "signature": fakeaws.RefuseSignature(),
		"denied": fakeaws.DenyAccess(),
	} {
		for _, service := range services {
			for _, client := range clients {
				t.Run(fmt.Sprint(name, " ", service, " ", client), func(t *testing.T) {
					t.Parallel()
					checkRotation(t, service, client, refusal)
				})
			}
		}
	}
}

func checkRotation(t *testing.T, service sink.Service, client sink.Client, refusal fakeaws.Fault) {
	t.Helper()
	server := start(t)
	dest, err := sink.ParseDestination(create(t, server, service, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	file := newKeyFile(t, "OLD")
	s, err := openWith(t.Context(), file.load(server.URL()), dest,
		sink.Options{Client: client, RequestTimeout: requestTimeout})
	if err != nil {
		t.Fatal(err)
	}
	file.write("NEW")
	if _, err := s.Publish(t.Context(), batchOf(1)); err != nil {
		t.Fatalf("the old key, which still works: %v", err)
	}
	server.Script(fakeaws.Match{}, fakeaws.ForKeys(func(id string) bool { return id == "OLD" }, refusal))
	if _, err := s.Publish(t.Context(), batchOf(1)); err == nil {
		t.Fatal("the broker accepts the old key")
	}
	if _, err := s.Publish(t.Context(), batchOf(1)); err != nil {
		t.Errorf("the next request: %v", err)
	}
}

// TestARefusedReadFindsTheRotatedKeys: the relay reads the limits of a destination again now and
// then.
func TestARefusedReadFindsTheRotatedKeys(t *testing.T) {
	t.Parallel()
	server := start(t)
	dest, err := sink.ParseDestination(create(t, server, sink.SQS, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	file := newKeyFile(t, "OLD")
	s, err := openWith(t.Context(), file.load(server.URL()), dest, sink.Options{RequestTimeout: requestTimeout})
	if err != nil {
		t.Fatal(err)
	}
	file.write("NEW")
	server.Script(fakeaws.Match{}, fakeaws.ForKeys(func(id string) bool { return id == "OLD" },
		fakeaws.RefuseToken()))
	if err := s.ReadLimits(t.Context()); err == nil {
		t.Fatal("the broker accepts the old key")
	}
	if err := s.ReadLimits(t.Context()); err != nil {
		t.Errorf("the next request: %v", err)
	}
}
