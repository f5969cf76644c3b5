// Package claimcheck sends large events by the claim check pattern: it stores the body of a message
// in S3, and replaces the message by one that points to the object, in the format of Amazon's
// Extended Client Libraries. https://github.com/awslabs/payload-offloading-java-common-lib-for-aws
package claimcheck

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// uploadTimeout bounds the upload of one body. Ten MiB take that long at 1.4 megabits a second.
const uploadTimeout = time.Minute

// probeKey is the object that [Store.Probe] writes.
const probeKey = "relay-check"

// Store is a bucket for the bodies of large messages.
type Store struct {
	client *s3.Client
	bucket string
}

// New returns the Store of a bucket. Region, credentials and endpoint are those of cfg.
func New(cfg aws.Config, bucket string) *Store {
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.Retryer = aws.NopRetryer{} // delivery retries
		o.Credentials = transport.Credentials(o.Credentials)
		// A configured endpoint has one host name, and none for each bucket.
		o.UsePathStyle = o.BaseEndpoint != nil
	})
	return &Store{client: client, bucket: bucket}
}

// Bucket returns the name of the bucket.
func (s *Store) Bucket() string { return s.bucket }

// Probe proves that the relay may write to the bucket, by writing a small object. The relay needs
// no other permission.
func (s *Store) Probe(ctx context.Context) error {
	return s.put(ctx, probeKey, "relay check wrote this object to prove that the relay may write large events here.\n")
}

// Offload stores the body of m, and returns the message that points to it. A repetition writes the
// same object. Another body of the same event has another object, because messages that point to
// the first may still wait for their consumers. Every error is transient: none refuses m itself,
// and a retry may succeed.
func (s *Store) Offload(ctx context.Context, m *sink.Message) (*sink.Message, error) {
	key := keyOf(m)
	if err := s.put(ctx, key, m.Body); err != nil {
		return nil, fmt.Errorf("store the body of event %s in bucket %s: %w", m.EventID, s.bucket, err)
	}
	pointing := *m
	pointing.Body = pointer(s.bucket, key)
	pointing.Attributes = slices.Clone(m.Attributes)
	if m.Own == outbox.MaxAttributes {
		dropOptional(&pointing)
	}
	size := sizeOf(m)
	pointing.Attributes = slices.Insert(pointing.Attributes, pointing.Own, size)
	pointing.Own++
	pointing.Attributes = pointing.Attributes[:min(len(pointing.Attributes), outbox.MaxAttributes)]
	return &pointing, nil
}

// sizeOf returns the attribute with the length of the stored body.
func sizeOf(m *sink.Message) sink.Attribute {
	return sink.Attribute{
		Name: outbox.AttributeLargeEvent, DataType: sink.Number, Value: strconv.Itoa(len(m.Body)),
	}
}

// sizeOfPointer returns the bytes of body and attribute that replace the body of m. It needs no
// digest, because each has the same length.
func (s *Store) sizeOfPointer(m *sink.Message) int {
	length := sizeOf(m)
	return len(pointer(s.bucket, keyWith(m, make([]byte, digestBytes)))) + length.Size()
}

// dropOptional removes the last attribute of a CloudEvent, which alone has ten of the relay's own.
// The mark of a replay stays.
func dropOptional(m *sink.Message) {
	at := m.Own - 1
	if m.Attributes[at].Name == outbox.AttributeReplay {
		at--
	}
	m.Attributes = slices.Delete(m.Attributes, at, at+1)
	m.Own--
}

// keyOf returns the key of the object: the deduplication id of the first delivery, and a digest of
// the body. The id is the event id if that is a UUID, and otherwise names the outbox table too. A
// redrive or a replay appends a suffix that begins with #. The body depends on settings: the format
// and the attributes of a CloudEvent.
func keyOf(m *sink.Message) string {
	digest := sha256.New()
	_, _ = io.Copy(digest, newReader(m.Body)) // cannot fail for a text and a hash
	return keyWith(m, digest.Sum(nil)[:digestBytes])
}

func keyWith(m *sink.Message, digest []byte) string {
	id, _, _ := strings.Cut(m.DeduplicationID, "#")
	return id + "/" + hex.EncodeToString(digest)
}

// digestBytes is the length of the digest in a key. It has to tell apart the few bodies of one
// event.
const digestBytes = 8

// pointer returns the body that points to an object.
func pointer(bucket, key string) string {
	place := struct {
		Bucket string `json:"s3BucketName"`
		Key    string `json:"s3Key"`
	}{bucket, key}
	body, _ := json.Marshal([]any{outbox.LargeEventPointer, place}) // cannot fail for texts
	return string(body)
}

func (s *Store) put(ctx context.Context, key, body string) error {
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: &key, Body: newReader(body)})
	return classify(err)
}

// newReader returns a reader that is no [io.WriterTo]. That of [strings.Reader] copies the whole
// text for a writer of bytes, and the signature, the checksum and the request have such writers.
func newReader(text string) io.ReadSeeker { return struct{ io.ReadSeeker }{strings.NewReader(text)} }

// classify returns err as a failure that refuses no message and is no throttling of the
// destination. A refusal of the credentials keeps its meaning.
func classify(err error) error {
	if err == nil {
		return nil
	}
	if failure, ok := errors.AsType[*sink.Error](err); ok && failure.Origin == sink.OriginCredentials {
		return err
	}
	failure := &sink.Error{Origin: sink.OriginRequest, Err: err}
	var api interface{ ErrorCode() string }
	if errors.As(err, &api) {
		failure.Code = api.ErrorCode()
	}
	if !sink.ConcernsCredentials(failure) {
		failure.Origin = sink.OriginTransport
	}
	return failure
}
