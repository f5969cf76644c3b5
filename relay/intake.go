package relay

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
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
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

// errBytes says that the log has bytes where the table has to have text. The next session refuses while the table still
// has them, and otherwise parks such events.
var errBytes = errors.New("the log has an event with bytes in a column that is delivered as text")

// errResumeMismatch says that a transaction did not come again with the rows that the checkpoint row had counted.
var errResumeMismatch = errors.New("a transaction came again with other rows than before")

// intake takes what the stream brings: it decodes, skips what was delivered before, registers each event with the Tracker
// and hands it to delivery, in this order. It is the [replication.Handler] and runs in the stream's goroutine, but for
// recovered, which runs while the stream is not read.
type intake struct {
	*session
	decoder *pgoutput.Decoder
	resumed checkpoint.Position // what was delivered before this session

	wanted  chan struct{} // closed when the stream is to be read
	begun   chan struct{} // closed when the stream may be read
	stopped atomic.Bool

	until         pglogrepl.LSN       // up to where the stream may be read; 0: without end
	published     *recovery.Published // rows that were read from the table; nil outside of a recovery
	reached       chan struct{}       // closed when the stream was read up to until
	inTransaction bool

	committedAt time.Time              // of the transaction being read
	gather      time.Duration          // how long its events may wait for others
	skipped     bool                   // the whole transaction was delivered before
	resume      checkpoint.Transaction // its part that was
	row         int64                  // rows of it that were read

	taken [][]*delivery.Event // by destination: what the stream brought since Flush
}

func newIntake(s *session) *intake {
	return &intake{
		session: s,
		decoder: pgoutput.NewDecoder(s.Table),
		resumed: s.held.row.Position,
		wanted:  make(chan struct{}),
		begun:   make(chan struct{}),
		reached: make(chan struct{}),
		taken:   make([][]*delivery.Event, len(s.Destinations)),
	}
}

// begin lets the stream be read. Beside a table, the server has to start it again first: see
// [session.holdUnread].
func (i *intake) begin() {
	close(i.wanted)
	if !i.held.row.IsBeside() {
		close(i.begun)
	}
}

// stop ends reading for good.
func (i *intake) stop() { i.stopped.Store(true) }

// Ready implements replication.Handler: the stream is read while there is room for what it brings.
func (i *intake) Ready() bool {
	if i.stopped.Load() {
		return false
	}
	select {
	case <-i.begun:
		return i.tracker.HasRoom()
	default:
		return false
	}
}

// Wake implements replication.Handler.
func (i *intake) Wake() <-chan struct{} {
	select {
	case <-i.begun:
		return i.tracker.Room()
	default:
		return i.begun
	}
}

// Keepalive implements replication.Handler.
func (i *intake) Keepalive(serverWALEnd pglogrepl.LSN) {
	if !i.inTransaction && i.isBehind(serverWALEnd) {
		i.reach()
		return
	}
	i.tracker.Keepalive(serverWALEnd)
}

// isBehind reports whether what commits at lsn is not to be read in this session.
func (i *intake) isBehind(lsn pglogrepl.LSN) bool { return i.until != 0 && lsn >= i.until }

// reach ends reading: everything that commits before until was read.
func (i *intake) reach() {
	if i.stopped.Swap(true) {
		return
	}
	i.tracker.Reached(i.until)
	close(i.reached)
}

// Gather implements replication.Handler.
func (i *intake) Gather() time.Duration { return i.gather }

// WALData implements replication.Handler.
func (i *intake) WALData(sentAt time.Time, data []byte) error {
	message, err := i.decoder.Decode(data)
	if err != nil {
		return err
	}
	switch message.Kind {
	case pgoutput.KindBegin:
		if i.isBehind(message.Begin.FinalLSN) {
			i.reach()
			return nil
		}
		i.gather = gatherFor(sentAt.Sub(message.Begin.CommitTime))
		i.beginTransaction(message.Begin)
	case pgoutput.KindRow:
		i.auditor.streamed(&message.Row)
		return i.takeRow(message, len(data))
	case pgoutput.KindCommit:
		i.inTransaction = false
		i.tracker.Commit(message.Commit.TransactionEndLSN)
	}
	return nil
}

// beginTransaction finds out what of the transaction was delivered before: all of it if it committed before the row's
// flush LSN, which is always the end of a record; a part of it if the row names it.
func (i *intake) beginTransaction(begin pgoutput.Begin) {
	i.inTransaction = true
	i.committedAt = begin.CommitTime
	i.skipped = begin.FinalLSN < i.resumed.FlushLSN
	i.row = 0
	i.resume = checkpoint.Transaction{CommitLSN: begin.FinalLSN}
	if begin.FinalLSN == i.resumed.Transaction.CommitLSN {
		i.resume = i.resumed.Transaction
	}
	i.tracker.Begin(i.resume)
}

func (i *intake) takeRow(m *pgoutput.Message, bytes int) error {
	if i.skipped {
		return nil
	}
	if i.row++; i.row <= i.resume.Delivered {
		return i.skip(&m.Row)
	}
	if i.published != nil && i.published.Has(&m.Row) { // it counts as a row of its transaction, or that could not be resumed in its middle
		i.tracker.Delivered(i.tracker.Open(route.EventID(&m.Row), 0))
		return nil
	}
	if m.Binary != "" && !i.parkBytes {
		return fmt.Errorf("%w: %s", errBytes, m.Binary)
	}
	destination, event, dropped := i.open(&m.Row, bytes)
	if m.Binary != "" {
		event.Problem, event.ProblemCode = "bytes in a column that is delivered as text: "+m.Binary, delivery.CodeBinary
	}
	event.CommittedAt, event.Gather = i.committedAt, i.gather
	event.Row.CommitLSN, event.Row.Number = i.resume.CommitLSN, i.row
	i.taken[destination] = append(i.taken[destination], event)
	i.Metrics.Received(dropped)
	return nil
}

// Flush implements replication.Handler: what one read of the stream brought goes to delivery together.
func (i *intake) Flush() {
	for destination, events := range i.taken {
		if len(events) > 0 {
			i.delivery.Send(destination, events...)
			i.taken[destination] = events[:0]
		}
	}
}

// skip leaves out a row that was delivered before, and proves with the last of them that the count means these rows.
func (i *intake) skip(e *outbox.Envelope) error {
	if i.row == i.resume.Delivered && route.EventID(e) != i.resume.LastEventID {
		return fmt.Errorf("%w: row %d of the transaction that committed at %s is event %s, was %s: sending it from its start",
			errResumeMismatch, i.row, i.resume.CommitLSN, route.EventID(e), i.resume.LastEventID)
	}
	return nil
}

// recovered takes a row that was read from the table. It waits for room, until ctx ends: after an error the row is not taken.
func (i *intake) recovered(ctx context.Context, e *outbox.Envelope) error {
	for !i.tracker.HasRoom() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-i.tracker.Room():
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	i.auditor.read(e)
	destination, event, dropped := i.open(e, rowBytes(e))
	event.Gather = maxGather
	i.delivery.Send(destination, event)
	i.Metrics.Recovered(dropped)
	return nil
}

// open makes an event of a row and registers it with the Tracker: only then may it be handed on.
func (i *intake) open(e *outbox.Envelope, bytes int) (destination int, event *delivery.Event, droppedHeaders int) {
	event = i.delivery.NewEvent()
	routed := i.Router.Message(e, &event.Message)
	event.Problem, event.HeadersDropped = routed.Problem, routed.DroppedHeaders
	event.Row = delivery.Row{Sequence: e.Sequence, XID: e.XID}
	event.Handle = i.tracker.Open(event.Message.EventID, bytes+eventOverhead)
	return routed.Destination, event, routed.DroppedHeaders
}

func rowBytes(e *outbox.Envelope) int {
	return len(e.ID) + len(e.AggregateType) + len(e.AggregateID) + len(e.EventType) + len(e.Payload) + len(e.Headers)
}
