package relay

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/audit"
	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/checkpointer"
	"github.com/outbox-relay/outbox-relay/relay/internal/deadletter"
	"github.com/outbox-relay/outbox-relay/relay/internal/deferral"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/ingest"
	"github.com/outbox-relay/outbox-relay/relay/internal/leadership"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/pause"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

// lastSaveTimeout bounds the last write of the checkpoint row of a session.
const lastSaveTimeout = 2 * time.Second

// session relays from one acquired slot. Its state ends with it. The next session continues from
// the row, the log and the table.
type session struct {
	*relay
	held         *leadership.HeldSlot
	lease        *slot.Lease
	tracker      *checkpoint.Tracker
	delivery     *delivery.Delivery
	deferrals    *deferral.Store
	gate         *deferral.Gate
	paused       []pause.Pause // when the session began
	cannotWait   string        // why events cannot wait in the table; empty if they can
	cannotPause  string        // why all events of a destination cannot; empty if they can
	handler      *ingest.Handler
	auditor      *audit.Auditor
	checkpointer *checkpointer.Checkpointer
	reading      context.Context // of the stream's goroutine, while it reads
}

func (r *relay) newSession(ctx context.Context, h *leadership.HeldSlot) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, r.SenderTimeout)
	defer cancel()
	if err := r.confirmTables(ctx, h); err != nil {
		return nil, err
	}
	if err := members.Register(ctx, r.pool, r.Slot, r.Table); err != nil {
		return nil, err
	}
	if err := r.numberTables(ctx, h); err != nil {
		return nil, err
	}
	blocked, err := deadletter.Blocked(ctx, r.pool, r.Slot, r.Table.Key())
	if err != nil {
		return nil, err
	}
	if err := r.store.NoteFilter(ctx, h.Fence, r.Table.Filter); err != nil {
		return nil, err
	}
	s := &session{relay: r, held: h, lease: slot.NewLease(r.SenderTimeout)}
	s.lease.Renew(h.CheckedAt, h.Stream.LastStatusAt())
	s.tracker = checkpoint.NewTracker(r.Window, h.Row.Position)
	if s.paused, err = pause.List(ctx, r.pool, r.Slot); err != nil {
		return nil, err
	}
	r.Metrics.Began(h.Row.Position, h.Row.UpdatedAt)
	s.delivery = delivery.New(s.destinations(blocked), r.Delivery, delivery.Deps{
		Tracker:  s.tracker,
		Lease:    s.lease,
		Parker:   deadletter.NewStore(r.pool, h.Fence, r.Table.Key()),
		Observer: r.Observer,
		Recorder: r.Recorder,
		Log:      r.Log,
	})
	if err := s.openGate(ctx); err != nil {
		return nil, err
	}
	for i := range r.Destinations { // before an event can be parked behind a dead letter
		s.delivery.DeferBehind(i, s.cannotWait == "")
	}
	s.connect()
	return s, nil
}

// destinations returns the destinations with the state of this session: their blocked groups, and
// whether they are paused.
func (s *session) destinations(blocked map[string]map[string]string) []delivery.Destination {
	destinations := make([]delivery.Destination, len(s.Destinations))
	for i, d := range s.Destinations {
		d.Blocked = blocked[d.Name]
		d.Paused = slices.ContainsFunc(s.paused, func(p pause.Pause) bool { return p.Destination == d.Name })
		destinations[i] = d
		if !d.Patterned { // each metric of a destination has a price in CloudWatch
			s.Metrics.Expect(d.Name)
		}
	}
	return destinations
}

// connect creates the handler of the stream, the auditor and the checkpointer.
func (s *session) connect() {
	auditor := &lateAuditor{}
	s.handler = ingest.New(ingest.Deps{
		Table: s.Table, Destinations: len(s.Destinations), Resumed: s.held.Row.Position,
		InPlace: s.held.Row.IsInPlace(), ParkBytes: s.parkBytes, ContainsBytes: s.containsBytes,
		Emitted: s.Emitted, NonTransactional: s.warnOfNonTransactional(),
		Unknown: s.unknownTable, Incomplete: s.incompleteRows, InTable: s.isInTable,
		Router: s.Router, Tracker: s.tracker, Delivery: s.delivery, Gate: s.gate, Auditor: auditor, Metrics: s.Metrics,
	})
	s.auditor = audit.New(audit.Deps{
		On: s.Audit && s.Table.IsRepairable(), Pool: s.pool, Store: s.store, Fence: s.held.Fence, Table: s.Table,
		Position: s.position, Begun: s.handler.Begun(),
		Timeout: s.SenderTimeout, Observer: s.Metrics, Retries: s.retries("audit"), Log: s.Log,
	}, s.brought)
	auditor.Auditor, s.brought = s.auditor, nil
	s.checkpointer = checkpointer.New(checkpointer.Deps{
		Pool: s.pool, Store: s.store, Fence: s.held.Fence, Row: s.held.Row,
		Publication: s.publication(), Stream: s.held.Stream, Lease: s.lease,
		Tracker: s.tracker, Auditor: s.auditor, Begun: s.handler.Begun(), Timeout: s.SenderTimeout,
		Observed: s.gate.Observed, Awaited: s.gate.IsEnding, Backlog: s.Backlog,
		Health: s.Health, Metrics: s.Metrics, Log: s.Log,
	})
}

// lookUp returns the context of a query whose answer the stream waits for. The query ends with the
// stream. It has to fail before wal_sender_timeout if the server does not answer, because the
// stream sends no status update meanwhile. end lets the stream send one if it is due, so that many
// slow queries do not take that time together.
func (s *session) lookUp() (ctx context.Context, end func()) {
	ctx, cancel := context.WithTimeout(s.reading, s.SenderTimeout/4)
	return ctx, func() {
		cancel()
		s.held.Stream.Waited()
	}
}

// containsBytes looks up a type that the log contains.
func (s *session) containsBytes(oid uint32) (bool, error) {
	ctx, end := s.lookUp()
	defer end()
	return outboxtable.IsMadeOfBytes(ctx, s.pool, oid)
}

// warnOfNonTransactional returns a function that logs the first message of the session that belongs
// to no transaction.
func (s *session) warnOfNonTransactional() func() {
	return sync.OnceFunc(func() {
		s.Log.Warn("a message with the prefix of RELAY_EMITTED belongs to no transaction: it is no event, and the "+
			"relay ignores it and those like it. Call pg_logical_emit_message with true as its first argument",
			"event", "message_ignored", "slot", s.Slot, "prefix", s.Emitted)
	})
}

// position returns the position before which every event is delivered.
func (s *session) position() pglogrepl.LSN { return s.tracker.Position().FlushLSN }

// retries returns a function that receives the error which a part of the session retries.
func (s *session) retries(part string) func(error) {
	return func(err error) { s.Health.Retries(part, err) }
}

// run relays until ctx ends or a part fails. It then stops reading. If nothing has failed, it waits
// for the delivery of the events that were read. It writes the last checkpoint, confirms it and
// releases the slot, in this order.
func (s *session) run(ctx context.Context) error {
	work := context.WithoutCancel(ctx) // each part ends in its turn
	s.Backlog.Stream(func() time.Time { return s.tracker.Load().Oldest })
	defer s.Backlog.End()
	s.held.Stream.Confirm(s.held.Row.Position.FlushLSN)
	recoverer := s.recoverer()
	stream := task.Start(work, func(ctx context.Context) error {
		s.reading = ctx
		return recoverer.Read(ctx)
	})
	delivering := task.Start(work, s.delivery.Run)
	checkpointing := task.Start(work, s.checkpointer.Run)
	recovering := task.Start(work, recoverer.Run)
	redriving := task.Start(work, s.redriver().Run)
	auditing := task.Start(work, s.auditor.Run)
	deferring := task.Start(work, s.deferrer().Run)
	watching := task.Start(work, s.watcher().Run)
	replaying := task.Start(work, s.onceStreaming(s.replay))
	joining := task.Start(work, s.onceStreaming(s.joiner().Run))
	retaining := task.Start(work, s.onceStreaming(s.retain))

	err := task.FirstOf(ctx,
		stream, delivering, checkpointing, recovering, redriving, auditing, joining, deferring, watching)
	var synchronous *replication.SynchronousError
	isSynchronous := errors.As(err, &synchronous)
	if isSynchronous { // first, because commits of other clients wait for it
		stream.End()
		s.commits().Release(work)
	}
	s.handler.Stop()
	for _, part := range []*task.Task{
		watching, recovering, redriving, auditing, replaying, retaining, joining, deferring,
	} {
		part.End()
	}
	if recoverer.KeepsBrought || errors.Is(err, members.ErrNext) {
		s.brought = s.auditor.Brought
	}
	if err == nil {
		s.Health.Enter(health.Stopping)
		err = s.drain(stream, delivering, checkpointing)
	}
	delivering.End()
	// Otherwise the database does not answer, or the relay no longer holds the slot.
	if checkpointing.End() == nil && !isSynchronous {
		err = s.saveLast(work, err)
	}
	stream.End()
	s.progressed = s.tracker.Load().Delivered > 0
	return err
}

// saveLast writes the checkpoint of a session that ends with err.
func (s *session) saveLast(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(ctx, lastSaveTimeout)
	defer cancel()
	position := s.tracker.Position()
	// The row had counted other rows, so the next session sends the transaction from its start.
	if errors.Is(err, ingest.ErrResumeMismatch) {
		position.Transaction = checkpoint.Transaction{}
	}
	if saveErr := s.checkpointer.Save(ctx, position); saveErr != nil {
		return errors.Join(err, saveErr)
	}
	return err
}

// drain waits until every event that was read is delivered.
func (s *session) drain(parts ...*task.Task) error {
	s.Log.Info("stopping: delivering the events that were read", "event", "stopping",
		"slot", s.Slot, "events", s.tracker.Load().Events)
	ctx, cancel := context.WithTimeout(context.Background(), s.DrainTimeout)
	defer cancel()
	s.delivery.Hurry()
	idle := task.Start(ctx, func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-s.tracker.Idle():
			return errDrained
		}
	})
	err := task.FirstOf(ctx, append(parts, idle)...)
	idle.End()
	if errors.Is(err, errDrained) {
		return nil
	}
	if err == nil {
		// The number includes delivered events behind the oldest undelivered one.
		s.Log.Warn("stopping before every event is delivered: the next session reads them again, from the oldest "+
			"undelivered one on",
			"event", "drain_timed_out", "slot", s.Slot, "events", s.tracker.Load().Events,
			"drain_timeout", s.DrainTimeout.String())
	}
	return err
}

var errDrained = errors.New("drained")
