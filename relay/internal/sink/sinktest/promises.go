package sinktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// promise is a test of the suite.
type promise struct {
	name string
	only []sink.Service // nil: every service
	test func(suite, *testing.T, kind)
}

func (p *promise) concerns(service sink.Service) bool {
	return p.only == nil || slices.Contains(p.only, service)
}

// queued are the services that send the message itself to a queue, and have settable limits.
var queued = []sink.Service{sink.SNS, sink.SQS}

// promises are the suite, each for every kind of destination or for some services only.
var promises = []promise{
	{"a durable message arrives byte for byte, with its attributes", queued, arrivesAsSent},
	{"a durable event arrives as JSON of the same value", []sink.Service{sink.EventBridge}, arrivesAsSent},
	{"a message may have no tenant", nil, sendsNoTenant},
	{"a result has the message's id at the broker", nil, namesMessages},
	{"ten messages of a group arrive in the order of their batch", nil, arrivesInOrder},
	{"a deduplication id counts on FIFO destinations only", nil, deduplicates},
	{"a refused message leaves the others of its batch durable", []sink.Service{sink.SQS}, refusesAlone},
	{"a batch that is refused for one message is durable in no part", nil, refusesTogether},
	{"size limits are exact to the byte", nil, limitsMessages},
	{"the limit of a batch is exact to the byte", nil, limitsBatches},
	{"a changed limit is read again", queued, readsLimitsAgain},
	{"a topic knows its subscriber", []sink.Service{sink.SNS}, knowsSubscriber},
	{"a destination that is missing is retried", nil, waitsForDestination},
	{"a destination that does not exist cannot be opened", nil, opensOnlyWhatExists},
	{"the broker refuses each message that Validate refuses", nil, refusesWhatValidateRefuses},
	{"the broker accepts each message that Validate accepts", nil, takesWhatValidatePasses},
}

func arrivesAsSent(s suite, t *testing.T, k kind) {
	d := s.open(t, k, nil)
	sent := message("tenant/1#a", 1)
	sent.Body = "{\n\t\"text\" : \"<&'\\\"\\u0008 ü € 🙂 +%20&a=b\",  \"n\":1.0e2}\r"
	sent.Attributes = []sink.Attribute{
		{Name: "aggregate.type", DataType: sink.String, Value: "a&b=c d+e%"},
		{Name: "event_id", DataType: sink.String, Value: sent.EventID},
		{Name: "sequence", DataType: sink.Number, Value: "9007199254740993"},
		{Name: "text", DataType: sink.String, Value: "ü 🙂 \t\n<>\""},
	}
	d.deliver(t, sent)
	got := d.receive(t, 1)[0]
	if diff := cmp.Diff(arrivalOf(sent, k), got); diff != "" {
		t.Errorf("sent (-), received (+):\n%s", diff)
	}
}

func knowsSubscriber(s suite, t *testing.T, k kind) {
	described, is := s.open(t, k, nil).Sink.(interface{ Description() sink.Description })
	if !is || described.Description().Unsubscribed {
		t.Errorf("a topic with a subscriber has none (described %t)", is)
	}
}

func sendsNoTenant(s suite, t *testing.T, k kind) {
	d := s.open(t, k, nil)
	sent := message("a", 1)
	sent.TenantID = ""
	d.deliver(t, sent, message("b", 2))
	for _, got := range d.receive(t, 2) {
		if want := map[bool]string{true: "a", false: ""}[k.fifo]; got.EventID == sent.EventID && got.GroupID != want {
			t.Errorf("it arrives with the group %q, want %q", got.GroupID, want)
		}
	}
}

// namesMessages compares the names in the results with those in the queue. The queue behind a topic
// gives a message a name of its own.
func namesMessages(s suite, t *testing.T, k kind) {
	d := s.open(t, k, nil)
	batch := []*sink.Message{message("a", 1), message("b", 2), message("c", 3)}
	results, err := d.Publish(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	named, names := map[string]string{}, map[string]bool{}
	for i, r := range results {
		named[arrivalOf(batch[i], k).Body] = r.MessageID.String()
		names[r.MessageID.String()] = true
	}
	if len(names) != len(batch) || names[""] {
		t.Errorf("the messages are named %v", named)
	}
	for _, m := range d.receiveAsSent(t, len(batch)) {
		if k.service == sink.EventBridge {
			if e, sent := readEvent(t, m); named[sent.Body] != e.ID {
				t.Errorf("the queue has event %s as %s, its result names %q", sent.Body, e.ID, named[sent.Body])
			}
			continue
		}
		if k.service == sink.SQS && named[*m.Body] != *m.MessageId {
			t.Errorf("the queue has message %s as %s, its result names %q", *m.Body, *m.MessageId, named[*m.Body])
		}
	}
}

func arrivesInOrder(s suite, t *testing.T, k kind) {
	d := s.open(t, k, nil)
	var sent, got []string
	for range 3 {
		var batch []*sink.Message
		for range sink.MaxBatch {
			batch = append(batch, message("one", len(sent)))
			sent = append(sent, batch[len(batch)-1].EventID)
		}
		d.deliver(t, batch...)
	}
	for _, m := range d.receive(t, len(sent)) {
		got = append(got, m.EventID)
	}
	if diff := cmp.Diff(sent, got); k.fifo && diff != "" {
		t.Errorf("sent (-), received (+):\n%s", diff)
	}
}

func deduplicates(s suite, t *testing.T, k kind) {
	d := s.open(t, k, nil)
	first, second, third := message("a", 1), message("a", 1), message("a", 3)
	second.DeduplicationID = first.DeduplicationID // and the same body
	d.deliver(t, first, second)
	d.deliver(t, first)
	d.deliver(t, third)
	want := 4
	if k.fifo {
		want = 2
	}
	d.receive(t, want)
}

// refusesAlone is for queues: SNS validates a request as a whole.
func refusesAlone(s suite, t *testing.T, k kind) {
	d := s.open(t, k, map[string]string{"MaximumMessageSize": "2048"})
	character, long := message("b", 2), d.sized(2049)
	character.Body = "\x01"
	batch := []*sink.Message{message("a", 1), character, message("c", 3), long, message("d", 5)}
	outcomes := d.outcomes(t, batch...)
	for i, want := range []string{"", "InvalidMessageContents", "", "InvalidParameterValue", ""} {
		checkRefusal(t, fmt.Sprint("message ", i), outcomes[i], want)
	}
	d.receive(t, 3)
}

// refusesTogether has the faults that fail a request: a bad attribute at SNS, too many bytes at the
// others.
func refusesTogether(s suite, t *testing.T, k kind) {
	d := s.open(t, k, nil)
	bad := message("b", 2)
	want := "ParameterValueInvalid"
	if k.service == sink.SNS {
		bad.Attributes[0].Value = ""
	} else {
		bad, want = d.sized(d.Limits().MaxBatchBytes), tooLong(k)
	}
	_, err := d.Publish(t.Context(), []*sink.Message{message("a", 1), bad, message("c", 3)})
	checkRefusal(t, "the request", err, want)
	if s.Gaps.BusEventBytes == 0 || k.service != sink.EventBridge {
		d.receive(t, 0)
	}
}

// tooLong is the code of a batch that is too long.
func tooLong(k kind) string {
	if k.service == sink.EventBridge {
		return "ValidationException"
	}
	return "BatchRequestTooLong"
}

func limitsMessages(s suite, t *testing.T, k kind) {
	attributes := map[string]string{"MaximumMessageSize": "5000"}
	if k.service == sink.SNS && s.Gaps.TopicSizeIsFixed || k.service == sink.EventBridge {
		attributes = nil
	}
	d := s.open(t, k, attributes)
	fits, long := d.sized(d.Limits().MaxMessageBytes), d.sized(d.Limits().MaxMessageBytes+1)
	if s.Gaps.BusEventBytes > 0 && k.service == sink.EventBridge {
		fits = d.sized(s.Gaps.BusEventBytes)
	}
	if attributes != nil && fits.Size() != 5000 {
		t.Fatalf("the limit was read as %d, want 5000", fits.Size())
	}
	d.deliver(t, fits)
	if err := d.outcomes(t, long)[0]; !isRejected(err) {
		t.Errorf("one byte more: %v, want a refusal", err)
	}
	if refused := sink.Validate(fits, d.Limits()); refused != nil {
		t.Errorf("validate refuses what the broker took: %v", refused)
	}
	if sink.Validate(long, d.Limits()) == nil {
		t.Error("validate passes what the broker refused")
	}
	if k.service == sink.EventBridge {
		return // the event around the largest detail is larger than any queue takes
	}
	if got := d.receive(t, 1)[0]; got.Body != fits.Body {
		t.Errorf("received %d bytes, sent %d", len(got.Body), len(fits.Body))
	}
}

func readsLimitsAgain(s suite, t *testing.T, k kind) {
	d := s.open(t, k, map[string]string{"MaximumMessageSize": "5000"})
	s.setMaximumMessageSize(t, d, "7000")
	if size := d.Limits().MaxMessageBytes; size != 5000 {
		t.Fatalf("%d bytes before they were read again", size)
	}
	if err := d.ReadLimits(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := d.Limits(); got.MaxMessageBytes != 7000 || got.FIFO != k.fifo {
		t.Errorf("the limits are %+v", got)
	}
	if s.Gaps.TopicSizeIsFixed && k.service == sink.SNS {
		return
	}
	d.deliver(t, d.sized(7000))
}

func limitsBatches(s suite, t *testing.T, k kind) {
	d := s.open(t, k, nil)
	limit := d.Limits().MaxBatchBytes
	if s.Gaps.BusEventBytes > 0 && k.service == sink.EventBridge {
		return
	}
	part := limit / sink.MaxBatch
	var batch []*sink.Message
	for range sink.MaxBatch - 1 {
		batch = append(batch, d.sized(part))
	}
	last := limit - part*len(batch)
	d.deliver(t, append(batch, d.sized(last))...)
	d.receive(t, sink.MaxBatch)

	for _, m := range batch {
		m.DeduplicationID += "-again"
	}
	_, err := d.Publish(t.Context(), append(batch, d.sized(last+1)))
	checkRefusal(t, "one byte more", err, tooLong(k))
	d.receive(t, 0)
}

func waitsForDestination(s suite, t *testing.T, k kind) {
	d := s.open(t, k, nil)
	d.deliver(t, message("a", 1))
	d.remove(t, k)
	var err error
	eventually(t, "a publish to a destination that was deleted fails", func() bool {
		err = d.outcomes(t, message("a", 2))[0]
		return err != nil
	})
	checkMissing(t, err)
}

func opensOnlyWhatExists(s suite, t *testing.T, k kind) {
	existing := s.open(t, k, nil)
	dest, err := sink.ParseDestination(strings.Replace(existing.arn, "sinktest-", "sinktest-absent-", 1))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = s.Open(ctx, s.Config, dest)
	checkMissing(t, err)
}

// checkMissing expects err to say that the destination does not exist, and to be transient.
func checkMissing(t *testing.T, err error) {
	t.Helper()
	code := sink.Code(err)
	missing := []string{"NotFound", "QueueDoesNotExist", "NonExistentQueue", "ResourceNotFoundException"}
	if !slices.Contains(missing, code) || isRejected(err) {
		t.Errorf(
			"%v (code %q), want an error that says the destination does not exist and is worth another attempt",
			err, code)
	}
}

func isRejected(err error) bool {
	var rejected *sink.RejectedError
	return errors.As(err, &rejected)
}

// checkRefusal expects err to be a refusal with this code, or nil if code is empty.
func checkRefusal(t *testing.T, what string, err error, code string) {
	t.Helper()
	if sink.Code(err) != code || isRejected(err) != (code != "") {
		t.Errorf("%s: %v, want refusal %q", what, err, code)
	}
}
