package claimcheck_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/internal/claimcheck"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

const bucket = "large-events"

func start(t *testing.T) *fakeaws.Server {
	t.Helper()
	server, err := fakeaws.Start(fakeaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server
}

// startStore starts a broker with the bucket, and returns a Store in it.
func startStore(t *testing.T) (*fakeaws.Server, *claimcheck.Store) {
	t.Helper()
	server := start(t)
	server.CreateBucket(bucket)
	return server, claimcheck.New(config(server.URL()), bucket)
}

func config(endpoint string) aws.Config {
	return aws.Config{
		Region: "us-east-1", BaseEndpoint: &endpoint,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}
}

// message returns a message with a body of this many bytes and this many attributes, of which two
// are the relay's own.
func message(bytes, attributes int) *sink.Message {
	m := &sink.Message{
		EventID: "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11", DeduplicationID: "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11#r1",
		GroupID: "order/1", Own: min(2, attributes), Body: strings.Repeat("ü", bytes/2),
	}
	for i := range attributes {
		m.Attributes = append(m.Attributes, sink.Attribute{Name: "a" + strconv.Itoa(i), Value: "x"})
	}
	return m
}

// keyOfUmlauts is the key of the message with a body of 2,000 bytes.
const keyOfUmlauts = "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11/dabd53845cfba11c"

func TestTheMessagePointsToTheBody(t *testing.T) {
	t.Parallel()
	server, store := startStore(t)
	for range 2 {
		m := message(2000, 9)
		got, err := store.Offload(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		const want = `["software.amazon.payloadoffloading.PayloadS3Pointer",` +
			`{"s3BucketName":"large-events","s3Key":"` + keyOfUmlauts + `"}]`
		size := sink.Attribute{Name: "ExtendedPayloadSize", DataType: sink.Number, Value: "2000"}
		if got.Body != want || len(got.Attributes) != 10 || got.Attributes[2] != size || got.Own != 3 ||
			got.GroupID != m.GroupID || got.DeduplicationID != m.DeduplicationID {
			t.Errorf("%+v", got)
		}
		if len(m.Body) != 2000 || len(m.Attributes) != 9 || m.Own != 2 {
			t.Error("the message itself has changed")
		}
	}
	if objects := server.Objects(bucket); len(objects) != 1 || objects[keyOfUmlauts] != 2 {
		t.Errorf("objects and how often each was written: %v", objects)
	}
}

// TestAnotherBodyHasAnotherObject: a setting such as the format changes the body of an event whose
// message still waits for its consumer.
func TestAnotherBodyHasAnotherObject(t *testing.T) {
	t.Parallel()
	server, store := startStore(t)
	var first string
	for _, body := range []string{`{"n":1}`, `{"specversion":"1.0","data":{"n":1}}`, `{"n":1}`} {
		m := message(100, 1)
		m.Body = body
		got, err := store.Offload(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		var pointer [2]any
		if err := json.Unmarshal([]byte(got.Body), &pointer); err != nil {
			t.Fatal(err)
		}
		key, _ := pointer[1].(map[string]any)["s3Key"].(string)
		if stored := string(server.Object(bucket, key)); stored != body {
			t.Errorf("%s has %q, want %q", key, stored, body)
		}
		first = cmp.Or(first, key)
		if stored := string(server.Object(bucket, first)); stored != `{"n":1}` {
			t.Errorf("the first message points to %q", stored)
		}
	}
	if objects := server.Objects(bucket); len(objects) != 2 || objects[first] != 2 {
		t.Errorf("objects and how often each was written: %v", objects)
	}
}

// TestThePointerHasRoomAmongTenAttributes: it takes the place of the last one.
func TestThePointerHasRoomAmongTenAttributes(t *testing.T) {
	t.Parallel()
	_, store := startStore(t)
	for _, own := range []int{2, 10} {
		m := message(100, 10)
		m.Own = own
		got, err := store.Offload(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		hasSize := slices.ContainsFunc(got.Attributes[:got.Own], func(a sink.Attribute) bool {
			return a.Name == "ExtendedPayloadSize"
		})
		refused := sink.Validate(got, sink.Limits{FIFO: true, MaxMessageBytes: 1 << 10})
		if refused != nil || !hasSize {
			t.Errorf("%d own: %v, %+v", own, refused, got.Attributes)
		}
	}
}

// TestABucketNeverRefusesAMessage: nor does it throttle the destination.
func TestABucketNeverRefusesAMessage(t *testing.T) {
	t.Parallel()
	for _, code := range []string{
		"AccessDenied", "SlowDown", "EntityTooLarge", "InvalidParameterValue", "ExpiredToken",
	} {
		server, store := startStore(t)
		server.RefuseBucket(bucket, code)
		_, err := store.Offload(t.Context(), message(100, 1))
		_, rejected := errors.AsType[*sink.RejectedError](sink.ClassifyRequest(err))
		if err == nil || rejected || sink.IsThrottled(err) || sink.PassesInParts(err) || sink.Code(err) != code ||
			sink.ConcernsCredentials(err) != (code == "ExpiredToken") ||
			!strings.Contains(err.Error(), "bucket "+bucket) {
			t.Errorf("%s: %v", code, err)
		}
	}
}

// discarding is a client that reads each request and succeeds.
type discarding struct{}

func (discarding) Do(r *http.Request) (*http.Response, error) {
	defer func() { _ = r.Body.Close() }()
	// a client sends the body through a writer that takes only bytes
	if _, err := io.Copy(struct{ io.Writer }{io.Discard}, r.Body); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}

// TestAnUploadCopiesNoBody: neither its hash, nor its checksum, nor the request needs a copy. The
// test runs alone, because it counts the allocations of the process.
func TestAnUploadCopiesNoBody(t *testing.T) {
	const size = 10 << 20
	m := message(size, 1)
	for _, endpoint := range []string{"http://s3.example.com", "https://s3.example.com"} {
		cfg := config(endpoint)
		cfg.HTTPClient = discarding{}
		store := claimcheck.New(cfg, bucket)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := store.Offload(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > size/10 {
			t.Errorf("%s: the upload of %d bytes allocates %d", endpoint, size, allocated)
		}
	}
}

// fixed is a sink with a limit that takes nothing.
type fixed struct {
	sink.Sink
	limits sink.Limits
}

func (f fixed) Limits() sink.Limits { return f.limits }

func TestOnlyMessagesBeyondTheLimitAreStored(t *testing.T) {
	t.Parallel()
	server, store := startStore(t)
	inner := fixed{limits: sink.Limits{MaxMessageBytes: 1000, MaxBatchBytes: 2000}}
	wrapped := claimcheck.Wrap(inner, store)
	small, large := message(100, 1), message(1000, 1)
	large.DeduplicationID = "public.events/7"
	batch := []*sink.Message{small, large}
	prepared, failed := wrapped.Prepare(t.Context(), batch)
	if failed != nil || prepared[0] != small || prepared[1] == large || batch[1] != large ||
		!strings.Contains(prepared[1].Body, `"public.events/7/`) {
		t.Errorf("%v, %v", prepared, failed)
	}
	if same, failed := wrapped.Prepare(t.Context(), batch[:1]); failed != nil || &same[0] != &batch[0] {
		t.Errorf("a batch without large messages is copied: %v", failed)
	}
	if got := wrapped.Limits(); got.MaxBatchBytes != 2000 || sink.Validate(message(1<<21, 1), got) != nil {
		t.Errorf("%+v", got)
	}
	if objects := fmt.Sprint(server.Objects(bucket)); !strings.HasPrefix(objects, "map[public.events/7/") {
		t.Errorf("objects %s", objects)
	}
}

// TestAFailedUploadFailsItsMessageAlone: and the uploads of a batch wait for the bucket together.
func TestAFailedUploadFailsItsMessageAlone(t *testing.T) {
	t.Parallel()
	server, store := startStore(t)
	server.RefuseBucket(bucket, "SlowDown")
	release := server.HoldBucket(bucket)
	inner := fixed{limits: sink.Limits{MaxMessageBytes: 1000, MaxBatchBytes: 1 << 20}}
	wrapped := claimcheck.Wrap(inner, store)
	batch := []*sink.Message{message(2000, 1), message(100, 1), message(3000, 1)}
	go func() {
		for server.Held(bucket) < 2 && t.Context().Err() == nil {
			runtime.Gosched()
		}
		release()
	}()
	prepared, failed := wrapped.Prepare(t.Context(), batch)
	if len(failed) != 3 || failed[0] == nil || failed[1] != nil || failed[2] == nil || prepared[1] != batch[1] {
		t.Errorf("%v, %v", prepared, failed)
	}
}

// TestHeadersLeaveRoomForThePointer: the message in the room that is left fits the destination.
func TestHeadersLeaveRoomForThePointer(t *testing.T) {
	t.Parallel()
	_, store := startStore(t)
	inner := fixed{limits: sink.Limits{MaxMessageBytes: 1000, MaxBatchBytes: 1 << 20}}
	wrapped := claimcheck.Wrap(inner, store)
	small, large := message(900, 1), message(2000, 2)
	if room := wrapped.Room(small); room != 1000 {
		t.Errorf("a body that fits with the own attributes has room for %d bytes, want 1000", room)
	}
	large.Attributes = append(large.Attributes, sink.Attribute{Name: "trace"})
	header := &large.Attributes[2]
	header.Value = strings.Repeat("x", wrapped.Room(large)-large.Size())
	prepared, failed := wrapped.Prepare(t.Context(), []*sink.Message{large})
	if failed != nil || prepared[0].Size() != 1000 {
		t.Errorf("%v: %d bytes, want 1000", failed, prepared[0].Size())
	}
}

// TestARefusalOfTheBucketFindsRotatedKeys: the bucket may be the first to refuse the old key.
func TestARefusalOfTheBucketFindsRotatedKeys(t *testing.T) {
	t.Parallel()
	server := start(t)
	server.CreateBucket(bucket)
	file := filepath.Join(t.TempDir(), "credentials")
	write := func(accessKeyID string) {
		text := "[default]\naws_access_key_id = " + accessKeyID + "\naws_secret_access_key = secret\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("OLD")
	cfg, err := transport.LoadConfig(t.Context(), time.Minute, awsconfig.WithRegion("us-east-1"),
		awsconfig.WithSharedCredentialsFiles([]string{file}), awsconfig.WithSharedConfigFiles(nil),
		awsconfig.WithSharedConfigProfile("default"), awsconfig.WithBaseEndpoint(server.URL()))
	if err != nil {
		t.Fatal(err)
	}
	store := claimcheck.New(cfg, bucket)
	write("NEW")
	server.RefuseBucket(bucket, "InvalidAccessKeyId")
	if err := store.Probe(t.Context()); !sink.ConcernsCredentials(err) {
		t.Fatalf("%v, want a refusal of the signer", err)
	}
	if got, err := cfg.Credentials.Retrieve(t.Context()); err != nil || got.AccessKeyID != "NEW" {
		t.Errorf("the next request is signed with %q, %v", got.AccessKeyID, err)
	}
}
