package sinktest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// renewal returns credentials until a test sets another answer.
type renewal struct {
	then atomic.Pointer[func(context.Context) (aws.Credentials, error)]
}

func (r *renewal) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if then := r.then.Load(); then != nil {
		return (*then)(ctx)
	}
	return aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"}, nil
}

// eachRenewal opens a destination of each service with every client, and makes then renew their
// credentials.
func eachRenewal(t *testing.T, then func(context.Context) (aws.Credentials, error), test func(*testing.T, sink.Sink)) {
	t.Helper()
	for _, service := range services {
		for _, client := range clients {
			t.Run(fmt.Sprint(service, " ", client), func(t *testing.T) {
				t.Parallel()
				s, source := openRenewing(t, service, client)
				source.then.Store(&then)
				test(t, s)
			})
		}
	}
}

var eachARN = map[string]bool{
	"arn:aws:sqs:us-east-1:000000000000:orders": true,
	"arn:aws:sns:us-east-1:000000000000:orders": true,

	"arn:aws:events:us-east-1:000000000000:event-bus/orders": true,
}

func openRenewing(t *testing.T, service sink.Service, client sink.Client) (sink.Sink, *renewal) {
	t.Helper()
	server := start(t)
	dest, err := sink.ParseDestination(create(t, server, service, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	source := &renewal{}
	cfg := config(server.URL())
	cfg.Credentials = source
	s, err := openWith(t.Context(), cfg, dest, sink.Options{Client: client, RequestTimeout: requestTimeout})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond) // after this, the client asks for credentials again
	return s, source
}

// TestARefusalOfCredentialsRefusesNoEvent: STS answers a renewal with a code that SQS has for
// messages.
func TestARefusalOfCredentialsRefusesNoEvent(t *testing.T) {
	t.Parallel()
	eachRenewal(t, func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, &smithy.OperationError{
			ServiceID:     "STS",
			OperationName: "AssumeRole",
			Err: &smithy.GenericAPIError{
				Code: "ValidationError", Message: "The requested DurationSeconds exceeds the MaxSessionDuration",
			},
		}
	}, func(t *testing.T, s sink.Sink) {
		_, err := s.Publish(t.Context(), batchOf(1))
		failure, ok := errors.AsType[*sink.Error](err)
		if isRejected(err) || !ok || failure.Origin != sink.OriginCredentials || sink.Code(err) != "credentials" {
			t.Errorf("%v (code %q), want an error of the credentials", err, sink.Code(err))
		}
	})
}

// TestCredentialsThatNoHeaderHoldsAreRefused: a line break would end the header, and begin another
// one.
func TestCredentialsThatNoHeaderHoldsAreRefused(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]aws.Credentials{
		"the session token":     {AccessKeyID: "AKID", SecretAccessKey: "secret", SessionToken: "token\n"},
		"the access key id":     {AccessKeyID: "AKID\r\nX-Injected: 1", SecretAccessKey: "secret"},
		"the secret access key": {AccessKeyID: "AKID", SecretAccessKey: "secret\n"},
	} {
		eachRenewal(
			t,
			func(context.Context) (aws.Credentials, error) { return broken, nil },
			func(t *testing.T, s sink.Sink) {
				_, err := s.Publish(t.Context(), batchOf(1))
				if err == nil || !strings.Contains(err.Error(), name) || sink.Code(err) != "credentials" ||
					isRejected(err) {
					t.Errorf("%v (code %q), want an error that names %s", err, sink.Code(err), name)
				}
			},
		)
	}
}

// TestAnAppIDThatNoHeaderHoldsIsRefused before anything is sent.
func TestAnAppIDThatNoHeaderHoldsIsRefused(t *testing.T) {
	t.Parallel()
	for arn := range eachARN {
		cfg := config("http://127.0.0.1:1")
		cfg.AppID = "shop\r\nX-Injected: 1"
		dest, err := sink.ParseDestination(arn)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = openWith(t.Context(), cfg, dest, sink.Options{}); err == nil ||
			!strings.Contains(err.Error(), "AWS_SDK_UA_APP_ID") {
			t.Errorf("%v, want an error that names the setting", err)
		}
	}
}

// TestTheTimeOfARequestIncludesItsCredentials, with either client: a relay that may publish now may
// not when they come late.
func TestTheTimeOfARequestIncludesItsCredentials(t *testing.T) {
	t.Parallel()
	eachRenewal(t, func(ctx context.Context) (aws.Credentials, error) {
		<-ctx.Done()
		return aws.Credentials{}, ctx.Err()
	}, func(t *testing.T, s sink.Sink) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*requestTimeout)
		defer cancel()
		begin := time.Now()
		if _, err := s.Publish(ctx, batchOf(1)); sink.Code(err) != "timeout" || time.Since(begin) > 10*requestTimeout {
			t.Errorf("%v (code %q) after %v", err, sink.Code(err), time.Since(begin))
		}
	})
}

// TestAnAnswerThatIsNotTheServicesIsNamed: a proxy or a load balancer answers in its place.
func TestAnAnswerThatIsNotTheServicesIsNamed(t *testing.T) {
	t.Parallel()
	for _, service := range services {
		w := openTwins(t, service, false)
		for status, body := range map[int]string{
			502: "<html><head><title>502 Bad Gateway</title></head><body><hr></body></html>",
			503: "<html><h1>Service unavailable",
			504: "", 403: "<!DOCTYPE html>blocked", 200: "<html>log in here</html>", 302: "", 413: "<html>413</html>",
		} {
			_, outcomes := w.publish(t, batchOf(2), reply{status: status, body: body})
			want := fmt.Sprint("HTTP ", status)
			if status == http.StatusRequestEntityTooLarge { // its parts are tried
				want = "rejected for good: HTTP 413: HTTP 413 from " + w.host + ", not " + service.Name()
			}
			for client, outcome := range outcomes {
				if outcome[0] != want {
					t.Errorf("%s, %s, %d: %v", service, client, status, outcome)
				}
			}
		}
		for client, s := range w.sinks {
			w.answer = reply{status: 502, body: "<html>"}
			_, err := s.Publish(t.Context(), batchOf(1))
			want := fmt.Sprintf("HTTP 502 from %s, not %s", w.host, service.Name())
			if !strings.HasSuffix(err.Error(), want) {
				t.Errorf("%s: %v", client, err)
			}
		}
	}
}

// TestATooLargeRequestIsTriedInParts whatever code a broker or a proxy has for it.
func TestATooLargeRequestIsTriedInParts(t *testing.T) {
	t.Parallel()
	for _, service := range services {
		w := openTwins(t, service, false)
		for _, answer := range []reply{
			refusal(service, 400, "BatchRequestTooLong"), refusal(service, 400,
				"RequestEntityTooLarge"), refusal(service, 413, "Other"),
			refusal(service, 400, "InvalidParameter"),
			{status: 413, body: ""},
			{
				status: 413,
				body:   "<html>",
			},
			{status: 431, body: "<html>"},
		} {
			for client, s := range w.sinks {
				w.answer = answer
				if _, err := s.Publish(t.Context(), batchOf(2)); !sink.PassesInParts(err) ||
					isRejected(err) != (answer.status != 431) {
					t.Errorf("%s, %s, %d %s: %v", service, client, answer.status, answer.body, err)
				}
			}
		}
	}
}

func refusal(service sink.Service, status int, code string) reply {
	if service == sink.EventBridge {
		return reply{status: status, body: `{"__type":"` + code + `","message":"Message too long"}`}
	}
	if service == sink.SNS {
		return reply{
			status: status,
			body: "<ErrorResponse><Error><Type>Sender</Type><Code>" + code +
				"</Code><Message>Message too long</Message></Error></ErrorResponse>",
		}
	}
	return reply{status: status, body: `{"__type":"com.amazonaws.sqs#` + code + `","message":"Message too long"}`}
}
