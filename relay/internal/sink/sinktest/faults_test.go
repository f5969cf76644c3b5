package sinktest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// requestTimeout of these sinks is longer than an answer takes while the machine stalls, and short
// enough to wait for.
const requestTimeout = 5 * time.Second

// broken is a destination at a server that misbehaves. It is FIFO, if the service has that.
type broken struct {
	sink.Sink
	service sink.Service
	server  *fakeaws.Server
	arn     string
}

// clients are all ways to publish.
var clients = []sink.Client{sink.Direct, sink.SDK}

// eachService runs test against a FIFO topic, a FIFO queue and an event bus, with every client.
func eachService(t *testing.T, test func(*testing.T, broken)) {
	t.Helper()
	for _, service := range services {
		eachClient(t, service, test)
	}
}

func eachClient(t *testing.T, service sink.Service, test func(*testing.T, broken)) {
	t.Helper()
	for _, client := range clients {
		t.Run(fmt.Sprint(service, " ", client), func(t *testing.T) {
			t.Parallel()
			test(t, openBroken(t, service, client))
		})
	}
}

func openBroken(t *testing.T, service sink.Service, client sink.Client) broken {
	t.Helper()
	server := start(t)
	arn := create(t, server, service, "orders.fifo")
	dest, err := sink.ParseDestination(arn)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := openWith(t.Context(), config(server.URL()), dest,
		sink.Options{RequestTimeout: requestTimeout, Client: client})
	if err != nil {
		t.Fatal(err)
	}
	return broken{opened, service, server, arn}
}

// publishActions are the actions that publish a batch.
var publishActions = map[sink.Service]string{
	sink.SNS: "PublishBatch", sink.SQS: "SendMessageBatch", sink.EventBridge: "PutEvents",
}

func batchOf(n int) []*sink.Message {
	batch := make([]*sink.Message, n)
	for i := range batch {
		id := fmt.Sprint("id-", i)
		batch[i] = &sink.Message{EventID: id, Body: "body of " + id, GroupID: "group", DeduplicationID: id}
	}
	return batch
}

// entry matches the message of batchOf with this id.
func entry(id string) fakeaws.Match {
	return fakeaws.Match{Entry: func(m *fakeaws.Message) bool { return strings.Contains(m.Body, "body of "+id) }}
}

func isRejected(err error) bool {
	var rejected *sink.RejectedError
	return errors.As(err, &rejected)
}

func TestRequestFailuresBeyondMessagesAreRetried(t *testing.T) {
	t.Parallel()
	faults := map[string]struct {
		fault fakeaws.Fault
		code  string // of all services, or those that they have
	}{
		"throttled":     {fakeaws.Throttle(), "ThrottlingException"},
		"denied":        {fakeaws.DenyAccess(), "AuthorizationError AccessDenied AccessDeniedException"},
		"key throttled": {fakeaws.ThrottleKMS(), "KMSThrottling KMS.ThrottlingException ThrottlingException"},
		"token expired": {fakeaws.ExpireToken(), "ExpiredToken ExpiredTokenException"},
		"clock skewed": {
			fakeaws.Refuse(http.StatusForbidden, "RequestTimeTooSkewed", "skewed"),
			"RequestTimeTooSkewed",
		},
		"missing":         {fakeaws.Missing(), "NotFound NonExistentQueue ResourceNotFoundException"},
		"over limit":      {fakeaws.Refuse(http.StatusForbidden, "OverLimit", "over"), "OverLimit"},
		"internal error":  {fakeaws.Refuse(http.StatusInternalServerError, "InternalError", "oh"), "InternalError"},
		"unavailable":     {fakeaws.Unavailable(), "ServiceUnavailable"},
		"never heard of":  {fakeaws.Refuse(http.StatusBadRequest, "SomethingNew", "what"), "SomethingNew"},
		"reset":           {fakeaws.Reset(), "network"},
		"hangs":           {fakeaws.Hang(), "timeout"},
		"answer lost":     {fakeaws.LoseAnswer(), "network"},
		"accepts, hangs":  {fakeaws.HangAfterAccept(), "timeout"},
		"answer breaks":   {fakeaws.BreakAnswer(20), "network"},
		"answer is empty": {fakeaws.TruncateAnswer(0), ""},
		"answer is long":  {fakeaws.EndlessAnswer(), ""},
	}
	eachService(t, func(t *testing.T, d broken) {
		for name, f := range faults {
			rule := d.server.Script(fakeaws.Match{Action: publishActions[d.service]}, f.fault)
			results, err := d.Publish(t.Context(), batchOf(2))
			rule.Clear()
			checkAnotherAttempt(t, name, results, err)
			if rule.Hits() != 1 {
				t.Errorf("%s: %d requests for one Publish, want 1", name, rule.Hits())
			}
			if code := sink.Code(err); f.code != "" && !slices.Contains(strings.Fields(f.code), code) {
				t.Errorf("%s: code %q, want %q", name, code, f.code)
			}
		}
	})
}

// checkAnotherAttempt expects that no message is durable and none is refused.
func checkAnotherAttempt(t *testing.T, what string, results []sink.Result, err error) {
	t.Helper()
	if isRejected(err) || err == nil && len(results) == 0 {
		t.Errorf("%s: %v", what, err)
	}
	for i, r := range results {
		if err == nil && (r.Err == nil || isRejected(r.Err)) {
			t.Errorf("%s: message %d: %v, want an error that is worth another attempt", what, i, r.Err)
		}
	}
}

func TestARequestRefusedForItsMessagesIsRejected(t *testing.T) {
	t.Parallel()
	eachService(t, func(t *testing.T, d broken) {
		for _, code := range []string{
			"InvalidParameterValue", "InvalidParameter", "InvalidMessageContents",
			"BatchRequestTooLong",
		} {
			d.server.Script(fakeaws.Match{Times: 1}, fakeaws.Refuse(http.StatusBadRequest, code, "no"))
			_, err := d.Publish(t.Context(), batchOf(2))
			if !isRejected(err) || sink.Code(err) != code {
				t.Errorf("%v, want the refusal %s", err, code)
			}
		}
	})
}

func TestAFailedEntryLeavesTheOthersDurable(t *testing.T) {
	t.Parallel()
	codes := map[string]bool{ // whether the message is refused for good
		"InvalidMessageContents": true, "InvalidParameterValue": true, "InternalError": false,
		"ThrottlingException": false, "KMS.ThrottlingException": false, "SomethingNew": false,
	}
	eachService(t, func(t *testing.T, d broken) {
		for code, permanent := range codes {
			rule := d.server.Script(entry("id-1"), fakeaws.FailEntries(code, "no", true))
			results, err := d.Publish(t.Context(), batchOf(3))
			rule.Clear()
			if err != nil {
				t.Fatalf("%s: %v", code, err)
			}
			if results[0].Err != nil || results[2].Err != nil {
				t.Errorf("%s: the others: %v, %v", code, results[0].Err, results[2].Err)
			}
			if failed := results[1].Err; isRejected(failed) != permanent || sink.Code(failed) != code {
				t.Errorf("%s: %v, want a refusal: %v", code, failed, permanent)
			}
		}
		for _, r := range d.server.Received(d.arn) {
			if strings.Contains(r.Body, "body of id-1") {
				t.Error("a failed entry was accepted")
			}
		}
	})
}

func TestOnlyAnEntryNamedOnceAsSuccessfulIsDurable(t *testing.T) {
	t.Parallel()
	eachService(t, func(t *testing.T, d broken) {
		for name, fault := range map[string]fakeaws.Fault{
			"missing": fakeaws.OmitEntries(), "doubled": fakeaws.RepeatEntries(),
		} {
			rule := d.server.Script(entry("id-1"), fault)
			results, err := d.Publish(t.Context(), batchOf(3))
			rule.Clear()
			if d.service == sink.EventBridge { // whose entries have no ids, only positions
				if sink.Code(err) != sink.CodeUnknownEntry {
					t.Errorf("%s: %v, %v, want an error of the whole request", name, results, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			checkAnotherAttempt(t, name, results[1:2], nil)
			if results[0].Err != nil || results[2].Err != nil {
				t.Errorf("%s: the others: %v, %v", name, results[0].Err, results[2].Err)
			}
		}
		if d.service == sink.EventBridge {
			return
		}
		d.server.Script(entry("id-1"), fakeaws.RenameEntries())
		results, err := d.Publish(t.Context(), batchOf(3))
		if err == nil {
			t.Errorf("an answer that names an entry which was not sent: %v, want an error", results)
		}
		checkAnotherAttempt(t, "unknown", results, err)
	})
}

func TestAWrongChecksumConcernsItsEntryOnly(t *testing.T) {
	t.Parallel()
	eachClient(t, sink.SQS, func(t *testing.T, d broken) {
		d.server.Script(entry("id-1"), fakeaws.WrongMD5())
		results, err := d.Publish(t.Context(), batchOf(3))
		if err != nil {
			t.Fatal(err)
		}
		checkAnotherAttempt(t, "wrong checksum", results[1:2], nil)
		if results[0].Err != nil || results[2].Err != nil {
			t.Errorf("the others: %v, %v", results[0].Err, results[2].Err)
		}
	})
}

// TestAMissingChecksumIsNoOtherBody: some brokers that are not AWS send no checksum. Each attempt
// would leave a copy, and the last one a dead letter.
func TestAMissingChecksumIsNoOtherBody(t *testing.T) {
	t.Parallel()
	eachClient(t, sink.SQS, func(t *testing.T, d broken) {
		d.server.Script(entry("id-1"), fakeaws.OmitMD5())
		d.server.Script(entry("id-2"), fakeaws.WrongMD5())
		results, err := d.Publish(t.Context(), batchOf(3))
		if err != nil {
			t.Fatal(err)
		}
		if results[1].Err != nil || results[1].MessageID.String() == "" {
			t.Errorf("the message without a checksum: %q, %v, want it durable", results[1].MessageID, results[1].Err)
		}
		if code := sink.Code(results[2].Err); code != sink.CodeChecksum {
			t.Errorf("the message with another checksum: code %q, want %q", code, sink.CodeChecksum)
		}
	})
}

// TestAnEmptyChecksumIsAMissingOne: neither a null nor an empty text is a checksum.
func TestAnEmptyChecksumIsAMissingOne(t *testing.T) {
	t.Parallel()
	w := openTwins(t, sink.SQS, false)
	for _, member := range []string{``, `,"MD5OfMessageBody":""`, `,"MD5OfMessageBody":null`} {
		body := `{"Successful":[{"Id":"` + placeholder(0) + `","MessageId":"m"` + member + `}]}`
		_, outcomes := w.publish(t, batchOf(1), reply{status: http.StatusOK, body: body})
		for client, outcome := range outcomes {
			if len(outcome) != 2 || outcome[0] != "" || outcome[1] != "" {
				t.Errorf("%s, %q: %v, want the message durable", client, member, outcome)
			}
		}
	}
}

func TestTruncatedAnswerMarksNothingFalselyDurable(t *testing.T) {
	t.Parallel()
	eachService(t, func(t *testing.T, d broken) {
		d.server.Script(entry("id-1"), fakeaws.FailEntries("InternalError", "no", false))
		for n := range 1000 {
			rule := d.server.Script(fakeaws.Match{}, fakeaws.TruncateAnswer(n))
			results, err := d.Publish(t.Context(), batchOf(3))
			rule.Clear()
			if err == nil && results[1].Err == nil {
				t.Fatalf("after %d bytes of the answer: the failed entry counts as durable", n)
			}
			checkRefusedNone(t, n, results, err)
		}
	})
}

func checkRefusedNone(t *testing.T, n int, results []sink.Result, err error) {
	t.Helper()
	for _, r := range append(results, sink.Result{Err: err}) {
		if isRejected(r.Err) {
			t.Fatalf("after %d bytes of the answer: %v", n, r.Err)
		}
	}
}

// TestAConnectionThatTheBrokerClosedIsNamed, so that a new one is tried before the destination
// counts as unavailable.
func TestAConnectionThatTheBrokerClosedIsNamed(t *testing.T) {
	t.Parallel()
	eachService(t, func(t *testing.T, d broken) {
		if _, err := d.Publish(t.Context(), batchOf(1)); err != nil {
			t.Fatal(err)
		}
		rule := d.server.Script(fakeaws.Match{}, fakeaws.Reset())
		if _, err := d.Publish(t.Context(), batchOf(1)); !errors.Is(err, sink.ErrConnectionClosed) {
			t.Errorf("on a connection that was kept: %v", err)
		}
		if _, err := d.Publish(t.Context(), batchOf(1)); err == nil || errors.Is(err, sink.ErrConnectionClosed) {
			t.Errorf("on a new connection: %v", err)
		}
		rule.Clear()
	})
}

func TestRetryAfterALostAnswerIsDeliveredOnce(t *testing.T) {
	t.Parallel()
	eachService(t, func(t *testing.T, d broken) {
		d.server.Script(fakeaws.Match{Times: 1}, fakeaws.LoseAnswer())
		if _, err := d.Publish(t.Context(), batchOf(2)); err == nil {
			t.Fatal("a lost answer is no error")
		}
		results, err := d.Publish(t.Context(), batchOf(2))
		if err != nil || results[0].Err != nil || results[1].Err != nil {
			t.Fatalf("the second attempt: %v, %v", results, err)
		}
		var delivered int
		for _, r := range d.server.Received(d.arn) {
			if !r.Duplicate {
				delivered++
			}
		}
		want := 2
		if d.service == sink.EventBridge { // which does not deduplicate
			want = 4
		}
		if total := d.server.ReceivedCount(d.arn); total != 4 || delivered != want {
			t.Errorf("accepted %d, delivered %d, want 4 and %d", total, delivered, want)
		}
	})
}

func TestACanceledRequestEndsAtOnce(t *testing.T) {
	t.Parallel()
	eachService(t, func(t *testing.T, d broken) {
		rule := d.server.Script(fakeaws.Match{}, fakeaws.Hang())
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		defer waiting.Wait()
		waiting.Go(func() {
			defer cancel()
			if err := rule.AwaitHits(ctx, 1); err != nil {
				t.Error(err)
			}
		})
		begin := time.Now()
		_, err := d.Publish(ctx, batchOf(1))
		if sink.Code(err) != "canceled" || time.Since(begin) >= requestTimeout {
			t.Errorf("%v (code %q) after %v", err, sink.Code(err), time.Since(begin))
		}
	})
}

// TestResultHasTheNameOfTheMessage: in an answer that accepts every message and in one that does
// not, which are read in two ways.
func TestResultHasTheNameOfTheMessage(t *testing.T) {
	t.Parallel()
	eachService(t, func(t *testing.T, d broken) {
		for _, fails := range []bool{false, true} {
			batch := batchOf(6)[:3]
			if fails {
				batch = batchOf(6)[3:]
				d.server.Script(entry("id-4"), fakeaws.FailEntries("InternalError", "no", true))
			}
			results, err := d.Publish(t.Context(), batch)
			if err != nil {
				t.Fatal(err)
			}
			names := map[string]string{}
			for _, r := range d.server.Received(d.arn) {
				names[textOf(r.Body)] = r.ID
			}
			for i, r := range results {
				if want := names[batch[i].Body]; r.MessageID.String() != want || (want == "") != (fails && i == 1) {
					t.Errorf("message %d, one fails %t: id %q, want %q", i, fails, r.MessageID, want)
				}
			}
		}
	})
}

// textOf returns the body of a message of batchOf, also from the detail of an event.
func textOf(body string) string {
	var detail struct{ Text string }
	if json.Unmarshal([]byte(body), &detail) != nil {
		return body
	}
	return detail.Text
}
