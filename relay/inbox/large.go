package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Fetch returns the content of an object in S3. The package awss3 has one that uses the AWS SDK.
type Fetch func(ctx context.Context, bucket, key string) ([]byte, error)

// Resolve returns the message of a large event with the body that it points to. It returns any
// other message as it is. Call it before [Decode] if the relay has a bucket for large events.
//
// After an error a retry may succeed. Do not delete the object: other queues and later deliveries
// point to it too.
func Resolve(ctx context.Context, m Message, fetch Fetch) (Message, error) {
	published, err := withoutEnvelope(m)
	if err != nil || !isLarge(published) {
		return m, nil // Decode reports the error
	}
	bucket, key, err := place(published.Body)
	if err != nil {
		return Message{}, fmt.Errorf("resolve the message of a large event: %w", err)
	}
	body, err := fetch(ctx, bucket, key)
	if err != nil {
		return Message{}, fmt.Errorf("read the body of a large event from bucket %s, key %q: %w", bucket, key, err)
	}
	if size := published.Attributes[outbox.AttributeLargeEvent]; size != strconv.Itoa(len(body)) {
		return Message{}, fmt.Errorf("the body of a large event in bucket %s, key %q, has %d bytes, and the message "+
			"says %s: it was written again in another format", bucket, key, len(body), quote(size))
	}
	resolved := Message{Body: string(body), Attributes: maps.Clone(published.Attributes)}
	delete(resolved.Attributes, outbox.AttributeLargeEvent)
	return resolved, nil
}

// isLarge reports whether the body of m points to an object.
func isLarge(m Message) bool { return m.Attributes[outbox.AttributeLargeEvent] != "" }

// errUnresolved is the error of Decode for a message that points to its body.
var errUnresolved = errors.New("it is the message of a large event, whose body is in S3: call Resolve before Decode")

// place returns the object to which a body points.
func place(body string) (bucket, key string, err error) {
	var class string
	var object struct {
		Bucket string `json:"s3BucketName"`
		Key    string `json:"s3Key"`
	}
	var parts []json.RawMessage
	if json.Unmarshal([]byte(body), &parts) != nil || len(parts) != 2 ||
		json.Unmarshal(parts[0], &class) != nil || class != outbox.LargeEventPointer ||
		json.Unmarshal(parts[1], &object) != nil || object.Bucket == "" || object.Key == "" {
		return "", "", fmt.Errorf("attribute %s says that the body points to S3, and it does not: check that the "+
			"relay sent the message", outbox.AttributeLargeEvent)
	}
	return object.Bucket, object.Key, nil
}
