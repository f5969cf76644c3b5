package preflight_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

const silentPort = "127.0.0.1:1"

func TestOnlyTransientFailuresAreRetried(t *testing.T) {
	t.Parallel()
	postgres := func(code string) error { return fmt.Errorf("server: %w", &pgconn.PgError{Code: code}) }
	connect := func(url string) error {
		_, err := pgconn.Connect(t.Context(), url)
		return fmt.Errorf("database: %w", err)
	}
	for name, c := range map[string]struct {
		err       error
		transient bool
	}{
		"connection refused":     {connect("postgres://" + silentPort + "/x?sslmode=disable"), true},
		"no such host":           {connect("postgres://nowhere.invalid/x?sslmode=disable"), true},
		"too slow":               {fmt.Errorf("server: %w", context.DeadlineExceeded), true},
		"starting up":            {postgres("57P03"), true},
		"too many connections":   {postgres("53300"), true},
		"wrong password":         {postgres("28P01"), false},
		"no such database":       {postgres("3D000"), false},
		"no right":               {postgres("42501"), false},
		"something else":         {errors.New("table outbox_events does not exist"), false},
		"one transient, one not": {errors.Join(postgres("57P03"), errors.Join(errors.New("wrong"))), false},
		"both transient":         {errors.Join(postgres("57P03"), errors.Join(context.DeadlineExceeded)), true},
		"broker unavailable":     {open(t, fakeaws.Unavailable()), true},
		"broker internal error": {
			open(t, fakeaws.Refuse(http.StatusInternalServerError, "InternalError", "oh")), true,
		},
		"broker throttles":         {open(t, fakeaws.Throttle()), true},
		"key throttles":            {open(t, fakeaws.ThrottleKMS()), true},
		"broker resets":            {open(t, fakeaws.Reset()), true},
		"broker denies":            {open(t, fakeaws.DenyAccess()), false},
		"broker has no such queue": {open(t, fakeaws.Missing()), false},
		"broker knows no such token": {
			open(t, fakeaws.Refuse(http.StatusForbidden, "InvalidClientTokenId", "who?")), false,
		},
		"no credentials yet": {&preflight.CredentialsError{Err: errors.New("no EC2 IMDS role found")}, true},
		"an answer about another": {
			fmt.Errorf("open: %w", &sink.MixedUpError{Destination: "a", Answered: "b"}), true,
		},
		"no endpoint": {openAt(t, "localhost:4566"), false},
	} {
		if got := preflight.OnlyTransient(c.err); got != c.transient {
			t.Errorf("%s: transient %v, want %v: %v", name, got, c.transient, c.err)
		}
	}
}

// open returns the error of opening a topic and a queue that have this fault.
func open(t *testing.T, fault fakeaws.Fault) error {
	t.Helper()
	broker, err := fakeaws.Start(fakeaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broker.Close() })
	broker.Script(fakeaws.Match{}, fault)
	return openAt(t, broker.URL())
}

func openAt(t *testing.T, endpoint string) error {
	t.Helper()
	_, found := preflight.Destinations{
		AWS: aws.Config{
			Region: "us-east-1", BaseEndpoint: &endpoint,
			Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
			Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
		},
		Names: []string{"arn:aws:sns:us-east-1:000000000000:orders", "arn:aws:sqs:us-east-1:000000000000:orders"},
	}.Check(t.Context(), preflight.Progress{})
	err := found.Err()
	if err == nil {
		t.Fatal("a destination with a fault was opened")
	}
	return err
}
