package history

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

const uuid = "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11"

// request returns the events of a request and their results. The event at index failed is not
// accepted.
func request(failed int, ids ...string) (all []*delivery.Event, results []sink.Result) {
	for i, id := range ids {
		e := &delivery.Event{CommittedAt: time.Unix(1, 0), ReadAt: time.Unix(2, 0)}
		e.Message.EventID = id
		r := sink.Result{MessageID: sink.NewMessageID([]byte("message-" + id[:min(len(id), 30)]))}
		if i == failed {
			r = sink.Result{Err: &sink.Error{Code: "InternalError"}}
		}
		all, results = append(all, e), append(results, r)
	}
	return all, results
}

func TestRecentHasTheLastAcceptedEvents(t *testing.T) {
	t.Parallel()
	var r Recent
	accept := func(failed int, ids ...string) {
		all, results := request(failed, ids...)
		r.Accepted("orders", time.Unix(3, 0), all, results)
	}
	accept(1, "a", "b", strings.Repeat("long", 20))
	if found := r.last(10); len(found) != 1 || found[0].EventID != "a" || found[0].MessageID != "message-a" ||
		found[0].Destination != "orders" ||
		found[0].CommittedAt.Unix() != 1 || found[0].ReadAt.Unix() != 2 ||
		found[0].SentAt.Unix() != 3 {
		t.Errorf("it remembers %+v", found)
	}
	for i := range remembered {
		accept(-1, fmt.Sprint(i))
	}
	accept(-1, "last", "behind it")
	if found := r.find("a"); len(found) > 0 {
		t.Errorf("it still has %+v", found)
	}
	if found := r.last(2); len(found) != 2 || found[0].EventID != "last" ||
		found[1].EventID != fmt.Sprint(remembered-1) {
		t.Errorf("the last are %+v, want one event of the last request and the one before", found)
	}
	accept(-1, "7")
	if found := r.find("7"); len(found) != 2 {
		t.Errorf("a replayed event is %+v, want both", found)
	}
}

func TestRecentCostsNoAllocation(t *testing.T) {
	var r Recent
	all, results := request(-1, uuid, uuid, uuid, uuid, uuid, uuid, uuid, uuid, uuid, uuid)
	if n := testing.AllocsPerRun(100, func() { r.Accepted("orders", time.Now(), all, results) }); n > 0 {
		t.Errorf("%v allocations for a request", n)
	}
}

// BenchmarkRecent measures an event of a full request. b.N counts events.
func BenchmarkRecent(b *testing.B) {
	var r Recent
	all, results := request(-1, uuid, uuid, uuid, uuid, uuid, uuid, uuid, uuid, uuid, uuid)
	sent := time.Now()
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(all) {
		r.Accepted("orders", sent, all, results)
	}
}
