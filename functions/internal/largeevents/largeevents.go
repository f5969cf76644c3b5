// Package largeevents reads the bodies of large events, which the relay stores in S3.
package largeevents

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/outbox-relay/outbox-relay/relay/inbox"
	"github.com/outbox-relay/outbox-relay/relay/inbox/awss3"
)

// Bucket is the variable with the bucket of the relay for large events.
const Bucket = "LARGE_EVENTS_BUCKET"

// Fetch returns the function that reads from the bucket in the settings. Without a bucket the
// function fails, so that a large event waits in its queue for the setting.
func Fetch(ctx context.Context, getenv func(string) string) (inbox.Fetch, error) {
	bucket := getenv(Bucket)
	if bucket == "" {
		return withoutBucket, nil
	}
	settings, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("load the settings of AWS for bucket %s: %w", bucket, err)
	}
	return awss3.Fetch(s3.NewFromConfig(settings, func(o *s3.Options) {
		// A configured endpoint has one host name, and none for each bucket.
		o.UsePathStyle = o.BaseEndpoint != nil
	}), bucket), nil
}

func withoutBucket(context.Context, string, string) ([]byte, error) {
	return nil, fmt.Errorf("%s is empty: set it to the bucket of the relay", Bucket)
}
