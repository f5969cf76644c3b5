// Package ingest takes what the stream brings: it decodes, skips, registers and routes each event.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// eventOverhead is about what an event takes in memory beside its row, in bytes.
const eventOverhead = 512

// maxGather bounds how long events of a backlog wait for others, to be read and sent in large pieces.
const maxGather = 5 * time.Millisecond

// gatherFor returns how long an event may wait that was this old when the server sent it, by the server's clock: a
// twentieth of its age. A backlog is so read and sent in large pieces, whatever the moment at which it began, and an
// event that is sent as soon as it is committed does not wait.
func gatherFor(age time.Duration) time.Duration {
	if wait := age / 20; wait >= time.Millisecond { // timers are no finer
		return min(wait, maxGather)
	}
	return 0
}

// ErrBytes says that the log has bytes where the table has to have text. The next session refuses while the table still
// has them, and otherwise parks such events.
var ErrBytes = errors.New("the log has an event with bytes in a column that is delivered as text")

// ErrResumeMismatch says that a transaction did not come again with the rows that the checkpoint row had counted.
var ErrResumeMismatch = errors.New("a transaction came again with other rows than before")

// Handler takes what the stream brings: it decodes, skips what was delivered before, registers each event with the Tracker
// and hands it to delivery, in this order. It is the [replication.Handler] and runs in the stream's goroutine, but for
// Recovered, which runs while the stream is not read.
type Handler struct {
	Deps
	decoder *pgoutput.Decoder

	wanted  chan struct{} // closed when the stream is to be read
	begun   chan struct{} // closed when the stream may be read
	stopped atomic.Bool

	until         pglogrepl.LSN // up to where the stream may be read; 0: without end
	published     Published     // rows that were read from the table; nil outside of a recovery
	reached       chan struct{} // closed when the stream was read up to until
	inTransaction bool

	committedAt time.Time              // of the transaction being read
	gather      time.Duration          // how long its events may wait for others
	skipped     bool                   // the whole transaction was delivered before
	resume      checkpoint.Transaction // its part that was
	row         int64                  // rows of it that were read

	taken [][]*delivery.Event // by destination: what the stream brought since Flush
}

// Deps are what a [Handler] works with.
type Deps struct {
	Table        pgoutput.Table
	Destinations int                 // how many there are
	Resumed      checkpoint.Position // what was delivered before this session
	// Beside says that a recovery beside the slot comes first: the stream is started a second time before
	// it may be read.
	Beside bool
	// ParkBytes has rows parked whose columns held bytes: the log has such rows, and the table has no such
	// column any more. Else the stream ends with [ErrBytes].
	ParkBytes bool
	// ContainsBytes reports whether a type that the log names contains bytea. The stream waits for it.
	ContainsBytes func(oid uint32) (bool, error)
	Router        *route.Router
	Tracker       *checkpoint.Tracker
	Delivery      *delivery.Delivery
	Auditor       Auditor
	Metrics       *health.Metrics
}

// Auditor is told of each row that was read.
type Auditor interface {
	// Streamed is told of a row of the stream.
	Streamed(*outbox.Envelope)
	// Read is told of a row of the table.
	Read(*outbox.Envelope)
}

// Published knows which rows a recovery has published from the table.
type Published interface{ Has(*outbox.Envelope) bool }

// New returns a Handler whose stream is not read yet.
func New(deps Deps) *Handler {
	decoder := pgoutput.NewDecoder(deps.Table)
	decoder.ContainsBytes = deps.ContainsBytes
	return &Handler{
		Deps:    deps,
		decoder: decoder,
		wanted:  make(chan struct{}),
		begun:   make(chan struct{}),
		reached: make(chan struct{}),
		taken:   make([][]*delivery.Event, deps.Destinations),
	}
}

// Begin lets the stream be read. Beside a recovery the server has to start it again first, which
// [Handler.Restarted] reports.
func (h *Handler) Begin() {
	close(h.wanted)
	if !h.Beside {
		close(h.begun)
	}
}

// Wanted returns a channel that is closed once the stream is to be read.
func (h *Handler) Wanted() <-chan struct{} { return h.wanted }

// Restarted lets a stream be read that the server has started again.
func (h *Handler) Restarted() { close(h.begun) }

// Begun returns a channel that is closed once the stream may be read.
func (h *Handler) Begun() <-chan struct{} { return h.begun }

// ReadUntil lets the stream be read up to a position. [Handler.Reached] is closed there.
func (h *Handler) ReadUntil(until pglogrepl.LSN) {
	h.until = until
	h.Begin()
}

// Until returns the position of [Handler.ReadUntil]; zero without one.
func (h *Handler) Until() pglogrepl.LSN { return h.until }

// Reached returns a channel that is closed once the stream was read up to [Handler.Until].
func (h *Handler) Reached() <-chan struct{} { return h.reached }

// SkipPublished has rows of the stream skipped that a recovery has published.
func (h *Handler) SkipPublished(published Published) { h.published = published }

// Stop ends reading for good.
func (h *Handler) Stop() { h.stopped.Store(true) }

// Ready implements replication.Handler: the stream is read while there is room for what it brings.
func (h *Handler) Ready() bool {
	if h.stopped.Load() {
		return false
	}
	select {
	case <-h.begun:
		return h.Tracker.HasRoom()
	default:
		return false
	}
}

// Wake implements replication.Handler.
func (h *Handler) Wake() <-chan struct{} {
	select {
	case <-h.begun:
		return h.Tracker.Room()
	default:
		return h.begun
	}
}

// Keepalive implements replication.Handler.
func (h *Handler) Keepalive(serverWALEnd pglogrepl.LSN) {
	if !h.inTransaction && h.isBehind(serverWALEnd) {
		h.Reach()
		return
	}
	h.Tracker.Keepalive(serverWALEnd)
}

// isBehind reports whether what commits at lsn is not to be read in this session.
func (h *Handler) isBehind(lsn pglogrepl.LSN) bool { return h.until != 0 && lsn >= h.until }

// Reach ends reading: everything that commits before until was read.
func (h *Handler) Reach() {
	if h.stopped.Swap(true) {
		return
	}
	h.Tracker.Reached(h.until)
	close(h.reached)
}

// Gather implements replication.Handler.
func (h *Handler) Gather() time.Duration { return h.gather }

// WALData implements replication.Handler.
func (h *Handler) WALData(sentAt time.Time, data []byte) error {
	message, err := h.decoder.Decode(data)
	if err != nil {
		return err
	}
	switch message.Kind {
	case pgoutput.KindBegin:
		if h.isBehind(message.Begin.FinalLSN) {
			h.Reach()
			return nil
		}
		h.gather = gatherFor(sentAt.Sub(message.Begin.CommitTime))
		h.beginTransaction(message.Begin)
	case pgoutput.KindRow:
		h.Auditor.Streamed(&message.Row)
		return h.takeRow(message, len(data))
	case pgoutput.KindCommit:
		h.inTransaction = false
		h.Tracker.Commit(message.Commit.TransactionEndLSN)
	}
	return nil
}

// beginTransaction finds out what of the transaction was delivered before: all of it if it committed before the row's
// flush LSN, which is always the end of a record; a part of it if the row names it.
func (h *Handler) beginTransaction(begin pgoutput.Begin) {
	h.inTransaction = true
	h.committedAt = begin.CommitTime
	h.skipped = begin.FinalLSN < h.Resumed.FlushLSN
	h.row = 0
	h.resume = checkpoint.Transaction{CommitLSN: begin.FinalLSN}
	if begin.FinalLSN == h.Resumed.Transaction.CommitLSN {
		h.resume = h.Resumed.Transaction
	}
	h.Tracker.Begin(h.resume)
}

func (h *Handler) takeRow(m *pgoutput.Message, bytes int) error {
	if h.skipped {
		return nil
	}
	if h.row++; h.row <= h.resume.Delivered {
		return h.skip(&m.Row)
	}
	if h.published != nil && h.published.Has(&m.Row) { // it counts as a row of its transaction, or that could not be resumed in its middle
		h.Tracker.Delivered(h.Tracker.Open(route.EventID(&m.Row), 0))
		return nil
	}
	if m.Binary != "" && !h.ParkBytes {
		return fmt.Errorf("%w: %s", ErrBytes, m.Binary)
	}
	destination, event, dropped := h.open(&m.Row, bytes)
	if m.Binary != "" {
		event.Problem, event.ProblemCode = "bytes in a column that is delivered as text: "+m.Binary, delivery.CodeBinary
	}
	event.CommittedAt, event.Gather = h.committedAt, h.gather
	event.Row.CommitLSN, event.Row.Number = h.resume.CommitLSN, h.row
	h.taken[destination] = append(h.taken[destination], event)
	h.Metrics.Received(dropped)
	return nil
}

// Flush implements replication.Handler: what one read of the stream brought goes to delivery together.
func (h *Handler) Flush() {
	for destination, events := range h.taken {
		if len(events) > 0 {
			h.Delivery.Send(destination, events...)
			h.taken[destination] = events[:0]
		}
	}
}

// skip leaves out a row that was delivered before, and proves with the last of them that the count means these rows.
func (h *Handler) skip(e *outbox.Envelope) error {
	if h.row == h.resume.Delivered && route.EventID(e) != h.resume.LastEventID {
		return fmt.Errorf("%w: row %d of the transaction that committed at %s is event %s, was %s: sending it from its start",
			ErrResumeMismatch, h.row, h.resume.CommitLSN, route.EventID(e), h.resume.LastEventID)
	}
	return nil
}

// Recovered takes a row that was read from the table. It waits for room, until ctx ends: after an error the row is not taken.
func (h *Handler) Recovered(ctx context.Context, e *outbox.Envelope) error {
	for !h.Tracker.HasRoom() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-h.Tracker.Room():
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	h.Auditor.Read(e)
	destination, event, dropped := h.open(e, rowBytes(e))
	event.Gather = maxGather
	h.Delivery.Send(destination, event)
	h.Metrics.Recovered(dropped)
	return nil
}

// open makes an event of a row and registers it with the Tracker: only then may it be handed on.
func (h *Handler) open(e *outbox.Envelope, bytes int) (destination int, event *delivery.Event, droppedHeaders int) {
	event = h.Delivery.NewEvent()
	routed := h.Router.Message(e, &event.Message)
	event.Problem, event.HeadersDropped = routed.Problem, routed.DroppedHeaders
	event.Row = delivery.Row{Sequence: e.Sequence, XID: e.XID}
	event.Handle = h.Tracker.Open(event.Message.EventID, bytes+eventOverhead)
	return routed.Destination, event, routed.DroppedHeaders
}

func rowBytes(e *outbox.Envelope) int {
	return len(e.ID) + len(e.AggregateType) + len(e.AggregateID) + len(e.EventType) + len(e.Payload) + len(e.Headers)
}
