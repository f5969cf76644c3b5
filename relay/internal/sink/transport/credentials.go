package transport

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// Credentials returns provider with errors that have the origin of credentials, whatever codes they
// contain. It refuses credentials that no header of a request can hold. It returns nil for nil.
func Credentials(provider aws.CredentialsProvider) aws.CredentialsProvider {
	if _, done := provider.(*checkedCredentials); provider == nil || done {
		return provider
	}
	return &checkedCredentials{provider}
}

type checkedCredentials struct{ provider aws.CredentialsProvider }

// Retrieve implements [aws.CredentialsProvider].
func (c *checkedCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	credentials, err := c.provider.Retrieve(ctx)
	if err == nil {
		err = CheckCredentials(credentials)
	}
	if err != nil {
		return aws.Credentials{}, &sink.Error{Origin: sink.OriginCredentials, Err: fmt.Errorf("credentials: %w", err)}
	}
	return credentials, nil
}

// IsCredentialsProvider makes anonymous credentials visible to the SDK through c.
func (c *checkedCredentials) IsCredentialsProvider(target aws.CredentialsProvider) bool {
	return aws.IsCredentialsProvider(c.provider, target)
}

// Invalidate makes a provider that caches fetch credentials again.
func (c *checkedCredentials) Invalidate() {
	if cache, cached := c.provider.(interface{ Invalidate() }); cached {
		cache.Invalidate()
	}
}

// MalformedError means that a setting has a character that would break the head of a request.
type MalformedError struct {
	Name   string // name of the setting
	Source string // source of the value; may be empty
}

func (e *MalformedError) Error() string {
	from := ""
	if e.Source != "" {
		from = " (from " + e.Source + ")"
	}
	return fmt.Sprintf(
		"%s%s has a space, a line break or another character than printable ASCII, which no request can carry: "+
			"remove it at its source, often a line break at the end of a file or a secret", e.Name, from)
}

// CheckCredentials returns a [*MalformedError] if credentials have a character that no header of a
// request can hold. It names the part and shows nothing of it.
func CheckCredentials(credentials aws.Credentials) error {
	var problems []error
	for _, part := range []struct{ name, text string }{
		{"the access key id", credentials.AccessKeyID},
		{"the secret access key", credentials.SecretAccessKey},
		{"the session token", credentials.SessionToken},
	} {
		if !isPrintable(part.text) {
			problems = append(problems, &MalformedError{part.name, credentials.Source})
		}
	}
	return errors.Join(problems...)
}

// CheckAppID returns a [*MalformedError] if id cannot be part of a user agent.
func CheckAppID(id string) error {
	if !isPrintable(id) {
		return &MalformedError{Name: "AWS_SDK_UA_APP_ID"}
	}
	return nil
}

// isPrintable reports whether text is printable ASCII without spaces.
func isPrintable(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' })
}
