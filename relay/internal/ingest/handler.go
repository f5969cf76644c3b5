// Package ingest handles the stream: it decodes each row, skips rows that an earlier session
// delivered, routes the event, registers it with the Tracker, and hands it to the Gate.
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
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// eventOverhead is the approximate memory of an event without its row, in bytes.
const eventOverhead = 512

// maxGather bounds how long an event of a backlog waits for others, to be read and sent in large
// pieces. The stream gives a server that is not ahead a head start of this time. A nearby server
// was measured to fill the receive buffer in half of it.
const maxGather = 10 * time.Millisecond

// gatherFor returns how long an event may wait that had this age when the server sent it, by the
// server's clock. It returns a twentieth of the age. So a backlog is read and sent in large pieces
// whenever it began, and an event that is sent at its commit does not wait.
func gatherFor(age time.Duration) time.Duration {
	if wait := age / 20; wait >= time.Millisecond { // timers are no finer
		return min(wait, maxGather)
	}
	return 0
}

// ErrBytes means that the log has bytes in a column that must have text. The next session refuses
// to start while the table still has the column, and otherwise parks such events.
var ErrBytes = errors.New("the log has an event with bytes in a column that is delivered as text")

// ErrResumeMismatch means that a transaction arrived again without the rows that the checkpoint row
// had counted.
var ErrResumeMismatch = errors.New("a transaction arrived again with other rows than before")

// Handler handles the stream. It decodes each row, skips delivered rows, routes the event and
// registers it with the Tracker, in this order. Flush hands the events of one read to the Gate in
// front of delivery.
//
// Handler is the [replication.Handler], whose methods run in the stream's goroutine. Before the
// stream is read, the goroutine of the recovery calls AwaitRoom, SkipPublished and Recovered. It
// then calls Begin or ReadUntil, which let the stream be read. Stop and the methods that return a
// channel are safe for concurrent use.
type Handler struct {
	Deps
	decoder *pgoutput.Decoder

	wanted  chan struct{} // closed when the stream should be read
	begun   chan struct{} // closed when the stream may be read
	stopped atomic.Bool

	until         pglogrepl.LSN // end of the part to read; 0: no end
	published     Published     // rows that were read from the table; nil outside of a recovery
	reached       chan struct{} // closed when the stream was read up to until
	inTransaction bool

	committedAt time.Time              // commit time of the current transaction
	gather      time.Duration          // how long its events may wait for others
	skipped     bool                   // an earlier session delivered the whole transaction
	resume      checkpoint.Transaction // the part that an earlier session delivered
	row         int64                  // number of its rows that were read

	writer uint32        // low half of the transaction id
	at     pglogrepl.LSN // everything that commits before it was read

	large collector

	// arrived has the events that arrived since Flush: those that are dropped, and then those of
	// each destination.
	arrived [][]*delivery.Event
}

// New returns a Handler whose stream may not be read yet.
func New(deps Deps) *Handler {
	decoder := pgoutput.NewDecoder(deps.Table)
	decoder.ContainsBytes, decoder.Unknown, decoder.Emitted = deps.ContainsBytes, deps.Unknown, deps.Emitted
	if deps.InPlace {
		decoder.Incomplete = deps.Incomplete
	}
	return &Handler{
		Deps:    deps,
		decoder: decoder,
		wanted:  make(chan struct{}),
		begun:   make(chan struct{}),
		reached: make(chan struct{}),
		arrived: make([][]*delivery.Event, deps.Destinations+1),
	}
}

// SkipPublished makes the Handler skip rows of the stream that a recovery has published.
func (h *Handler) SkipPublished(published Published) { h.published = published }

// Ready implements [replication.Handler]. The stream is read while the window has room.
func (h *Handler) Ready() bool {
	if h.stopped.Load() {
		return false
	}
	select {
	case <-h.begun:
	default:
		return false
	}
	if !h.Tracker.HasRoom() {
		return false
	}
	h.large.collect()
	return true
}

// Wake implements [replication.Handler].
func (h *Handler) Wake() <-chan struct{} {
	select {
	case <-h.begun:
		return h.Tracker.Room()
	default:
		return h.begun
	}
}

// Keepalive implements [replication.Handler].
func (h *Handler) Keepalive(serverWALEnd pglogrepl.LSN) {
	if !h.inTransaction && h.isBehind(serverWALEnd) {
		h.Reach()
		return
	}
	if !h.inTransaction {
		h.at = max(h.at, serverWALEnd)
	}
	h.Tracker.Keepalive(serverWALEnd)
}

// Gather implements [replication.Handler].
func (h *Handler) Gather() time.Duration { return h.gather }

// WALData implements [replication.Handler].
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
		if message.Lack == nil { // the audit needs every column
			h.Auditor.Streamed(&message.Row)
		}
		return h.receive(message, len(data))
	case pgoutput.KindEmitted: // the audit compares rows of the table, and there is none
		return h.receive(message, len(data))
	case pgoutput.KindNonTransactional:
		h.NonTransactional()
	case pgoutput.KindCommit:
		h.inTransaction = false
		h.at = max(h.at, message.Commit.TransactionEndLSN)
		h.Tracker.Commit(message.Commit.TransactionEndLSN)
	}
	return nil
}

// beginTransaction determines the part of the transaction that an earlier session delivered. It is
// the whole transaction if that committed before the row's flush LSN, which is always the end of a
// record. It is a part if the row names the transaction.
func (h *Handler) beginTransaction(begin pgoutput.Begin) {
	h.inTransaction = true
	h.committedAt, h.writer = begin.CommitTime, begin.XID
	h.at = max(h.at, begin.FinalLSN)
	h.skipped = begin.FinalLSN < h.Resumed.FlushLSN
	h.row = 0
	h.resume = checkpoint.Transaction{CommitLSN: begin.FinalLSN}
	if begin.FinalLSN == h.Resumed.Transaction.CommitLSN {
		h.resume = h.Resumed.Transaction
	}
	h.Tracker.Begin(h.resume)
}

func (h *Handler) receive(m *pgoutput.Message, bytes int) error {
	if h.skipped {
		return nil
	}
	if h.row++; h.row <= h.resume.Delivered {
		return h.skip(&m.Row)
	}
	// The row still counts as one of its transaction, so that the transaction can resume in the
	// middle.
	if h.published != nil && h.published.Has(&m.Row) {
		h.passOver(&m.Row)
		return nil
	}
	if m.Lack != nil {
		return h.receiveIncomplete(m, bytes)
	}
	if m.Binary != "" && !h.ParkBytes {
		return fmt.Errorf("%w: %s", ErrBytes, m.Binary)
	}
	destination, event, dropped := h.open(&m.Row, bytes)
	if m.Binary != "" {
		event.MarkUnusable(delivery.CodeBinary, "bytes in a column that is delivered as text: "+m.Binary)
	}
	if m.Problem != "" {
		event.MarkUnusable(delivery.CodeMalformed, m.Problem)
	}
	event.Row.Writer = h.writer
	h.hand(m, destination, event, dropped)
	return nil
}

// passOver counts a row as delivered that a recovery has published.
func (h *Handler) passOver(e *outbox.Envelope) {
	h.Tracker.Delivered(h.Tracker.Open(route.EventID(e), 0))
}

// hand has the next Flush hand over an event of the stream.
func (h *Handler) hand(m *pgoutput.Message, destination int, event *delivery.Event, dropped int) {
	event.CommittedAt, event.Gather = h.committedAt, h.gather
	event.Row.CommitLSN, event.Row.Number = h.resume.CommitLSN, h.row
	h.arrived[destination+1] = append(h.arrived[destination+1], event)
	h.Metrics.Received(dropped)
	if m.Row.Source != nil {
		h.Metrics.ReceivedFrom(m.Row.Source.Table)
	}
}

// Flush implements [replication.Handler]. It hands the events of one read to delivery together.
func (h *Handler) Flush() {
	for i, events := range h.arrived {
		if len(events) > 0 {
			h.Gate.Send(i-1, events...)
			h.arrived[i] = events[:0]
		}
	}
	h.Gate.Reached(h.at)
	h.decoder.Release()
}

// skip skips a delivered row. At the last one it proves that the count refers to the same rows.
func (h *Handler) skip(e *outbox.Envelope) error {
	if h.row == h.resume.Delivered && route.EventID(e) != h.resume.LastEventID {
		return fmt.Errorf("%w: row %d of the transaction that committed at %s is event %s and was %s: "+
			"the relay sends the transaction from its start",
			ErrResumeMismatch, h.row, h.resume.CommitLSN, route.EventID(e), h.resume.LastEventID)
	}
	return nil
}

// AwaitRoom waits until another row of the table may be read. It returns an error if ctx ends
// first.
func (h *Handler) AwaitRoom(ctx context.Context) error {
	for !h.Tracker.HasRoom() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-h.Tracker.Room():
		}
	}
	h.large.collect()
	return ctx.Err()
}

// Recovered accepts a row that was read from the table. It waits for room until ctx ends. After an
// error the row is not accepted.
func (h *Handler) Recovered(ctx context.Context, e *outbox.Envelope) error {
	if err := h.AwaitRoom(ctx); err != nil {
		return err
	}
	h.Auditor.Read(e)
	destination, event, dropped := h.open(e, rowBytes(e))
	event.Gather = maxGather
	event.Row.Writer = h.Gate.Writer(e.XID)
	h.Gate.Send(destination, event)
	h.Metrics.Recovered(dropped)
	return nil
}

// open creates the event of a row, and registers it with the Tracker before the event is handed on.
func (h *Handler) open(e *outbox.Envelope, bytes int) (destination int, event *delivery.Event, droppedHeaders int) {
	event = h.Delivery.NewEvent()
	routed := h.Router.Message(e, &event.Message)
	h.register(e, event, routed, bytes)
	return routed.Destination, event, routed.DroppedHeaders
}

func (h *Handler) register(e *outbox.Envelope, event *delivery.Event, routed route.Routed, bytes int) {
	event.MarkUnusable(routed.ProblemCode, routed.Problem)
	event.HeadersDropped = routed.DroppedHeaders
	event.Deferral = h.Gate.Claimed(e)
	event.Row = delivery.Row{Sequence: e.Sequence, XID: e.XID, Source: e.Source}
	event.Handle = h.Tracker.Open(event.Message.EventID, bytes+eventOverhead)
	h.large.opened(bytes)
}

func rowBytes(e *outbox.Envelope) int {
	return len(e.ID) + len(e.AggregateType) + len(e.AggregateID) + len(e.EventType) + len(e.Payload) +
		len(e.Headers) + len(e.Tenant) + len(e.Route)
}
