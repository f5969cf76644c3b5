// Package awss3 reads the bodies of large events from S3 with the AWS SDK for Go v2.
package awss3

import (
	"context"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/outbox-relay/outbox-relay/relay/inbox"
)

// Fetch returns the function for [inbox.Resolve]. It reads from this bucket alone, so that no
// message can make the consumer read another one. The consumer needs s3:GetObject, and kms:Decrypt
// for a key of your own.
func Fetch(client *s3.Client, bucket string) inbox.Fetch {
	return func(ctx context.Context, from, key string) ([]byte, error) {
		if from != bucket {
			return nil, fmt.Errorf("the message points to bucket %s, and the relay writes to %s", from, bucket)
		}
		object, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
		if err != nil {
			return nil, err
		}
		defer object.Body.Close()
		return io.ReadAll(object.Body)
	}
}
