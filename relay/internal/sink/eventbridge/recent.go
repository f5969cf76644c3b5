package eventbridge

import (
	"sync"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// remembered is the number of answers that the sink remembers. At the highest rate they span
// several seconds.
const remembered = 1024

// recent holds one event id of each of the last answers. EventBridge assigns a new id to each
// event. So an answer that has the id of an earlier answer is a copy of it, for example from a
// caching proxy, and does not tell the outcome of the request.
type recent struct {
	mu    sync.Mutex
	known map[sink.MessageID]struct{}
	order [remembered]sink.MessageID
	next  int
}

// add remembers an answer, or returns an error if it was read before.
func (r *recent) add(results []sink.Result) error {
	id, found := firstID(results)
	if !found {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, again := r.known[id]; again {
		return &sink.Error{
			Origin: sink.OriginTransport,
			Code:   sink.CodeUnknownEntry,
			Reason: "the answer has the event id of an earlier one: it belongs to another request",
		}
	}
	if r.known == nil {
		r.known = make(map[sink.MessageID]struct{}, remembered)
	}
	delete(r.known, r.order[r.next])
	r.known[id] = struct{}{}
	r.order[r.next] = id
	r.next = (r.next + 1) % remembered
	return nil
}

// firstID returns the first event id of an answer.
func firstID(results []sink.Result) (id sink.MessageID, found bool) {
	for i := range results {
		if id = results[i].MessageID; results[i].Err == nil && id != (sink.MessageID{}) {
			return id, true
		}
	}
	return id, false
}
