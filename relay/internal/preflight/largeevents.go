package preflight

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/outbox-relay/outbox-relay/relay/internal/claimcheck"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// LargeEvents is the bucket for events that are too long for their destination.
type LargeEvents struct {
	AWS    aws.Config
	Bucket string
}

// Check writes a small object to the bucket, and makes topics and queues take large events.
func (l LargeEvents) Check(ctx context.Context, destinations []delivery.Destination, progress Progress) Findings {
	object := "bucket " + l.Bucket
	store := claimcheck.New(l.AWS, l.Bucket)
	return Requirement{object, func(ctx context.Context) Findings {
		if err := store.Probe(ctx); err != nil {
			return Findings{l.refusal(object, err)}
		}
		for i, d := range destinations {
			if isMessaging(d.Name) {
				destinations[i].Sink = claimcheck.Wrap(d.Sink, store)
			}
		}
		return Findings{passed(CodeLargeEvents, object, "the relay may write to bucket %s", l.Bucket)}
	}}.Run(ctx, progress)
}

// isMessaging reports whether a destination, by its ARN, has readers that know pointers.
func isMessaging(arn string) bool {
	service := strings.SplitN(arn, ":", 4)
	return len(service) == 4 && (service[2] == string(sink.SNS) || service[2] == string(sink.SQS))
}

// refusal is the finding of a bucket that cannot be written to.
func (l LargeEvents) refusal(object string, err error) Finding {
	fail := func(format string, args ...any) Finding {
		return failed(CodeLargeEvents, object, "bucket %s "+format, append([]any{l.Bucket}, args...)...).because(err)
	}
	switch code := sink.Code(err); code {
	case "NoSuchBucket":
		return fail("does not exist: create it, or change RELAY_LARGE_EVENTS_BUCKET").
			with("aws s3api create-bucket --bucket %s", l.Bucket)
	case "AccessDenied":
		return fail("may not be written (%s): the role of the relay needs s3:PutObject for arn:aws:s3:::%s/*, and "+
			"kms:GenerateDataKey for a key of your own", code, l.Bucket)
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		return fail("is in another region (%s): set AWS_REGION to the region of the bucket", code)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fail("did not answer within %v: check AWS_ENDPOINT_URL, AWS_REGION and the network", limit)
	}
	return fail("cannot be written: %v", err)
}
