// Package history finds the history of an event in the outbox table, the checkpoint, the dead
// letters and this relay's memory.
package history

import (
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

const (
	// remembered is the number of accepted events that a relay remembers.
	remembered = 512
	// reach is the time that the remembered events should cover at least.
	reach = time.Second
	// longestID is the longest event id that a relay remembers, in bytes.
	longestID = 64
)

// Recent remembers the last accepted events, with the broker's message ids. It is a
// [delivery.Recorder]. Its memory has a fixed size, and an event causes no allocation. While more
// events are accepted than it can remember for a second, it remembers one event of each request.
type Recent struct {
	mu   sync.Mutex
	ring [remembered]record
	next uint64 // number of events so far
}

// record is an accepted event. It has copies, because the texts of a delivered event are reused.
type record struct {
	id              [longestID]byte
	length          uint8
	message         sink.MessageID
	destination     string
	committed, read int64 // Unix time in nanoseconds; 0 if unknown
	sent, accepted  int64
}

// Accepted implements [delivery.Recorder].
func (r *Recent) Accepted(destination string, sent time.Time, all []*delivery.Event, results []sink.Result) {
	accepted := time.Now().UnixNano()
	r.mu.Lock()
	defer r.mu.Unlock()
	busy := r.next >= remembered && accepted-r.ring[r.next%remembered].accepted < int64(reach)
	for i, e := range all {
		if results[i].Err != nil || len(e.Message.EventID) > longestID {
			continue
		}
		record := &r.ring[r.next%remembered]
		r.next++
		record.length = uint8(copy(record.id[:], e.Message.EventID)) //nolint:gosec // at most 64
		record.message, record.destination = results[i].MessageID, destination
		record.committed, record.read = nanoseconds(e.CommittedAt), nanoseconds(e.ReadAt)
		record.sent, record.accepted = sent.UnixNano(), accepted
		if busy {
			return
		}
	}
}

// nanoseconds returns 0 for the zero time.
func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// Acceptance is this relay's record of an event that a destination has accepted.
type Acceptance struct {
	EventID     string     `json:"-"`
	Destination string     `json:"destination"`
	MessageID   string     `json:"message_id,omitempty"` // of the broker
	CommittedAt *time.Time `json:"committed_at,omitempty"`
	ReadAt      *time.Time `json:"read_at,omitempty"` // from the log or the table
	SentAt      time.Time  `json:"sent_at"`           // start of the accepted request
	AcceptedAt  time.Time  `json:"accepted_at"`
}

// find returns the acceptances of an event, the last first. A replayed event has several.
func (r *Recent) find(id string) []Acceptance {
	return r.list(remembered, func(record *record) bool { return string(record.id[:record.length]) == id })
}

// last returns the last n acceptances, the last first.
func (r *Recent) last(n int) []Acceptance { return r.list(n, func(*record) bool { return true }) }

func (r *Recent) list(n int, wanted func(*record) bool) (found []Acceptance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for age := uint64(1); age <= min(r.next, remembered) && len(found) < n; age++ {
		if record := &r.ring[(r.next-age)%remembered]; wanted(record) {
			found = append(found, record.acceptance())
		}
	}
	return found
}

func (r *record) acceptance() Acceptance {
	return Acceptance{
		EventID: string(r.id[:r.length]), Destination: r.destination, MessageID: r.message.String(),
		CommittedAt: moment(
			r.committed), ReadAt: moment(r.read), SentAt: *moment(r.sent), AcceptedAt: *moment(r.accepted),
	}
}

// moment returns nil for 0.
func moment(nanoseconds int64) *time.Time {
	if nanoseconds == 0 {
		return nil
	}
	t := time.Unix(0, nanoseconds).UTC()
	return &t
}
