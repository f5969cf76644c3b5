package transport

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go/logging"
)

// source is where a test reads credentials from.
type source struct {
	id    string // empty: the source cannot be read
	reads int
}

func (s *source) load(context.Context) (aws.CredentialsProvider, error) {
	s.reads++
	if s.id == "" {
		return nil, errors.New("the file has half of a profile")
	}
	return fixed(s.id), nil
}

func fixed(id string) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: id, SecretAccessKey: "secret"}, nil
	})
}

// TestAKeyThatStaysRefusedIsRereadSometimes: not by each request.
func TestAKeyThatStaysRefusedIsRereadSometimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{id: "OLD"}
		r := newReloadedCredentials(fixed("OLD"), logging.Nop{}, s.load)
		expect := func(want string, reads int) {
			t.Helper()
			if got, err := r.Retrieve(t.Context()); err != nil || got.AccessKeyID != want || s.reads != reads {
				t.Errorf("%q, %v, %d reads; want %q after %d", got.AccessKeyID, err, s.reads, want, reads)
			}
		}
		expect("OLD", 0)
		for range 100 {
			r.Invalidate()
			expect("OLD", 1)
		}
		s.id = "" // while the file is written
		time.Sleep(reloadInterval)
		expect("OLD", 2)
		s.id = "NEW"
		r.Invalidate()
		time.Sleep(reloadInterval)
		expect("NEW", 3)
		expect("NEW", 3)
	})
}
