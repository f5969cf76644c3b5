package delivery

import (
	"context"
	"log/slog"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// Destination is an opened sink with the message groups that parked events block.
type Destination struct {
	// its ARN in logs, metrics and dead letters, in whatever form the settings name it
	Name    string
	Sink    sink.Sink
	Blocked map[string]string // message group to the id of the parked event that blocks it
	Paused  bool              // no request is sent: see [Delivery.Pause]
	// Patterned says that only a pattern leads here, so the destination may never get an event.
	Patterned bool
}

// Lease says whether this relay may still publish. Delivery asks it before each request.
type Lease interface {
	// MayPublish returns an error if another relay may hold the slot by now.
	MayPublish() error
}

// Parker stores the events that a destination refuses.
type Parker interface {
	// Park stores letter durably, or returns an error and has stored nothing. letter.Message is
	// valid during the call. To park an event again is no error. A dead letter that is refused
	// again is parked again. If it blocks its group, so are those behind it.
	Park(ctx context.Context, letter DeadLetter) error
	// IsParked reports whether there is a dead letter of this event already, in any state: the
	// event comes again.
	IsParked(ctx context.Context, letter DeadLetter) (bool, error)
	// IsRedriving reports whether a dead letter is still to be sent, by the redrive with which it
	// came to delivery.
	IsRedriving(ctx context.Context, letter *DeadLetter) (bool, error)
	// Redriven records that the dead letter at position is delivered.
	Redriven(ctx context.Context, position int64) error
	// IsBlocked reports whether a dead letter blocks the group.
	IsBlocked(ctx context.Context, destination, groupID string) (bool, error)
	// IsBehind reports whether a dead letter with this common seq, or a lower or unknown one,
	// blocks the group.
	IsBehind(ctx context.Context, destination, groupID string, seq int64) (bool, error)
}

// DeadLetter is an event that is parked, or a parked event that an operator redrives.
type DeadLetter struct {
	Destination string
	Message     *sink.Message
	Code        string
	Reason      string
	Attempts    int  // requests that held the event
	BlocksGroup bool // later events of the message group are parked behind it until it is delivered or discarded
	Row         Row

	Position   int64     // its key in the table of dead letters; zero before it is stored
	RedrivenAt time.Time // when the operator redrove it, by the server's clock; zero before that
}

// Observer counts events and requests for metrics.
type Observer interface {
	LargeEventObserver
	// Dropped counts events that a route leads nowhere.
	Dropped(events int)
	// HeadersDropped counts headers of an event that the message of its destination could not hold.
	HeadersDropped(headers int)
	Requested(destination string, events int, took time.Duration, err error)
	// Delivered counts the delivered events of one request. sinceCommit has the age of each, or
	// zero if it is unknown.
	Delivered(destination string, sinceCommit []time.Duration)
	// Paced reports how many requests a second the relay sends, zero without a limit, and whether
	// the destination sets that limit. Delivery reports each change.
	Paced(destination string, perSecond float64, throttled bool)
	// Paused reports whether a destination is paused. Delivery reports each change.
	Paused(destination string, paused bool)
	Retried(destination, code string)
	Parked(destination, code string)
	Redriven(destination string)
	// Replayed counts one replayed event, with the code of its refusal. The code is empty if it was
	// delivered.
	Replayed(destination, code string)
}

// Recorder remembers the last accepted events.
type Recorder interface {
	// Accepted takes the events of a request that began at sent, with a result for each. Those
	// without an error are durable at the destination. Accepted must not block and must not retain
	// its arguments.
	Accepted(destination string, sent time.Time, events []*Event, results []sink.Result)
}

// Deps are the parts of the relay that delivery calls.
type Deps struct {
	Tracker  *checkpoint.Tracker
	Lease    Lease
	Parker   Parker
	Observer Observer
	Recorder Recorder // nil: nothing is remembered
	Log      *slog.Logger
}
