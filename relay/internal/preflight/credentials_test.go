package preflight_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// TestMalformedCredentialsEndTheStart: a retry does not remove the line break from a token.
func TestMalformedCredentialsEndTheStart(t *testing.T) {
	t.Parallel()
	destinations := preflight.Destinations{
		AWS: aws.Config{
			Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", "token\n"),
		},
		Names: []string{"arn:aws:sqs:eu-central-1:123456789012:orders"},
	}
	_, found := destinations.Check(t.Context(), preflight.Progress{})
	err := found.Err()
	if err == nil || !strings.Contains(err.Error(), "the session token") || preflight.OnlyTransient(err) {
		t.Errorf("%v, want a definite refusal of the session token", err)
	}
}
