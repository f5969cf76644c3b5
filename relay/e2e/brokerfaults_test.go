package e2e_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// brokerFault is a failure of the broker for which no event is to blame.
type brokerFault struct {
	name    string
	fault   fakeaws.Fault
	oneOnly bool // fails only the entries of aggregate 0, in requests that hold other entries too
	sqsOnly bool
	times   int // how often the fault happens. Zero leaves it on until it has happened three times.
}

var brokerFaults = []brokerFault{
	{name: "throttling", fault: fakeaws.Throttle()},
	{name: "key throttled", fault: fakeaws.ThrottleKMS()},
	{name: "key disabled", fault: fakeaws.Refuse(http.StatusBadRequest, "KMSDisabled", "disabled")},
	{name: "key access denied", fault: fakeaws.Refuse(http.StatusBadRequest, "KMSAccessDenied", "denied")},
	{name: "expired credentials", fault: fakeaws.ExpireToken()},
	{name: "access denied", fault: fakeaws.DenyAccess()},
	{name: "clock skewed", fault: fakeaws.Refuse(http.StatusForbidden, "RequestTimeTooSkewed", "skewed")},
	{name: "deleted and created again", fault: fakeaws.Missing()},
	{name: "unavailable", fault: fakeaws.Unavailable()},
	{name: "internal error", fault: fakeaws.Refuse(http.StatusInternalServerError, "InternalError", "oh")},
	{name: "unknown code", fault: fakeaws.Refuse(http.StatusBadRequest, "SomethingNew", "unknown")},
	{name: "reset", fault: fakeaws.Reset()},
	{name: "hang", fault: fakeaws.Hang()},
	{name: "accepted, answer lost", fault: fakeaws.LoseAnswer()},
	{name: "accepted, hang", fault: fakeaws.HangAfterAccept()},
	{name: "accepted, answer breaks", fault: fakeaws.BreakAnswer(20)},
	{name: "accepted, answer truncated", fault: fakeaws.TruncateAnswer(60)},
	{name: "accepted, answer empty", fault: fakeaws.TruncateAnswer(0)},
	{name: "accepted, answer endless", fault: fakeaws.EndlessAnswer()},
	{name: "entry fails", fault: fakeaws.FailEntries("InternalError", "oh", false), oneOnly: true},
	{name: "entry throttled", fault: fakeaws.FailEntries("ThrottlingException", "slow", true), oneOnly: true},
	{name: "entry missing in the answer", fault: fakeaws.OmitEntries(), oneOnly: true},
	{name: "entry doubled in the answer", fault: fakeaws.RepeatEntries(), oneOnly: true},
	{name: "entry unknown in the answer", fault: fakeaws.RenameEntries(), oneOnly: true},
	{name: "wrong checksum", fault: fakeaws.WrongMD5(), oneOnly: true, sqsOnly: true, times: 2},
	{name: "no checksum", fault: fakeaws.OmitMD5(), oneOnly: true, sqsOnly: true},
}

// One relay goes through all faults in turn, once with a FIFO queue and once with a FIFO topic.
func TestBrokerFaultsLoseReorderOrParkNothing(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"SendMessageBatch", "PublishBatch"} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			destination := w.queue.ARN
			if action == "PublishBatch" {
				var err error
				destination, err = w.broker.CreateTopic("orders.fifo", nil)
				w.must(err)
			}
			p := w.startStreaming("RELAY_DESTINATION="+destination, "RELAY_REQUEST_TIMEOUT=1s", "RELAY_RETRY_MAX=200ms")
			written := 0
			for _, f := range brokerFaults {
				if f.sqsOnly && action != "SendMessageBatch" {
					continue
				}
				match, hits := fakeaws.Match{Action: action, Times: f.times}, cmp.Or(f.times, 3)
				if f.oneOnly {
					match.Entry = func(m *fakeaws.Message) bool { return strings.HasPrefix(m.Body, `{"aggregate":0,`) }
				}
				rule := w.broker.Script(match, f.fault)
				written = w.commitVersions(written)
				w.eventually(f.name+" has happened a few times", func() bool { return rule.Hits() >= hits })
				rule.Clear()
				w.checkOnceInOrder(f.name, destination, written)
			}
			if strings.Contains(p.log.String(), "event=session_ended") {
				t.Error("the session ended")
			}
			if parked := w.query(`SELECT count(*)::text FROM outbox_dead_letters`); parked != "0" {
				t.Errorf("%s events are parked", parked)
			}
		})
	}
}

// faultyAggregates is the number of aggregates of the events in this file.
const faultyAggregates = 6

// commitVersions commits three more versions of each aggregate. It returns the number of events
// that are committed by then.
func (w *testEnv) commitVersions(written int) int {
	w.t.Helper()
	for range 3 {
		version := written/faultyAggregates + 1
		events := make([]outbox.Event, faultyAggregates)
		for i := range events {
			events[i] = event(w.t, strconv.Itoa(i), fmt.Sprintf(`{"aggregate":%d,"version":%d}`, i, version))
		}
		w.commit(events...)
		written += len(events)
	}
	return written
}

// checkOnceInOrder waits until the destination has accepted that many events. It checks that each
// was delivered once, and that the events of each aggregate are in order. It ignores the
// repetitions that a FIFO destination drops.
func (w *testEnv) checkOnceInOrder(fault, destination string, events int) {
	w.t.Helper()
	var delivered []fakeaws.Receipt
	w.within(patience, fmt.Sprintf("all events have arrived after %q", fault), func() bool {
		delivered = delivered[:0]
		for _, r := range w.broker.Received(destination) {
			if !r.Duplicate {
				delivered = append(delivered, r)
			}
		}
		return len(delivered) >= events
	})
	latest := map[int]int{}
	for _, r := range delivered {
		var v version
		w.must(json.Unmarshal([]byte(r.Body), &v))
		if latest[v.Aggregate]++; v.Version != latest[v.Aggregate] {
			w.t.Fatalf("%s: aggregate %d: version %d arrived, want %d", fault, v.Aggregate, v.Version,
				latest[v.Aggregate])
		}
	}
}
