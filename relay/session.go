package relay

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/deadletter"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/replay"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

// lastWordTimeout bounds the last write of the checkpoint row of a session.
const lastWordTimeout = 2 * time.Second

// session relays from one held slot. What it has open dies with it: the next one finds the row, the log and the table.
type session struct {
	*relay
	held     *held
	lease    *slot.Lease
	tracker  *checkpoint.Tracker
	delivery *delivery.Delivery
	intake   *intake
	auditor  *auditor
	keeper   *keeper
}

func (r *relay) newSession(ctx context.Context, h *held) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, r.SenderTimeout)
	defer cancel()
	blocked, err := deadletter.Blocked(ctx, r.pool, r.tableName())
	if err != nil {
		return nil, err
	}
	if err := members.Register(ctx, r.pool, r.Slot, r.Table); err != nil {
		return nil, err
	}
	s := &session{relay: r, held: h, lease: slot.NewLease(r.SenderTimeout)}
	s.lease.Saw(h.seenAt, h.stream.ToldAt())
	s.tracker = checkpoint.NewTracker(r.Window, h.row.Position)
	destinations := make([]delivery.Destination, len(r.Destinations))
	for i, d := range r.Destinations {
		d.Blocked = blocked[d.Name]
		destinations[i] = d
		r.Metrics.Expect(d.Name)
	}
	r.Metrics.Began(h.row.Position, h.row.UpdatedAt)
	s.delivery = delivery.New(destinations, r.Delivery, delivery.Deps{
		Tracker:  s.tracker,
		Holder:   s.lease,
		Parker:   deadletter.NewStore(r.pool, h.fence, r.tableName()),
		Observer: r.Observer,
		Log:      r.Log,
	})
	s.intake = newIntake(s)
	s.auditor = newAuditor(s)
	s.keeper = newKeeper(s)
	return s, nil
}

// run relays until ctx ends or something fails. At its end it stops reading, waits until what was read is delivered if
// nothing has failed, writes the last checkpoint, and only then confirms it and lets go of the slot.
func (s *session) run(ctx context.Context) error {
	work := context.WithoutCancel(ctx) // each part is ended in its turn
	s.Backlog.Stream(func() time.Time { return s.tracker.Load().Oldest })
	defer s.Backlog.End()
	s.held.stream.Confirm(s.held.row.Position.FlushLSN)
	stream := task.Start(work, s.read)
	delivering := task.Start(work, s.delivery.Run)
	keeping := task.Start(work, s.keeper.run)
	recovering := task.Start(work, s.recover)
	redriving := task.Start(work, s.redriver().Run)
	auditing := task.Start(work, s.auditor.run)
	watching := task.Start(work, s.watch)
	replaying := task.Start(work, s.onceStreaming(s.replayer().Run))
	retaining := task.Start(work, s.onceStreaming(s.retain))
	joining := task.Start(work, s.onceStreaming(s.joiner().Run))

	err := task.FirstOf(ctx, stream, delivering, keeping, recovering, redriving, auditing, joining, watching)
	var synchronous *replication.SynchronousError
	isSynchronous := errors.As(err, &synchronous)
	if isSynchronous { // before everything else, as commits of others wait for it
		stream.End()
		s.releaseCommits(work)
	}
	s.intake.stop()
	watching.End()
	recovering.End()
	redriving.End()
	auditing.End()
	replaying.End()
	retaining.End()
	joining.End()
	if err == nil {
		s.Health.Enter(health.Stopping)
		err = s.drain(stream, delivering, keeping)
	}
	delivering.End()
	if keeping.End() == nil && !isSynchronous { // else the database does not answer, or the slot is no longer held
		err = s.lastWord(work, err)
	}
	stream.End()
	s.progressed = s.tracker.Load().Delivered > 0
	return err
}

// redriver returns the worker that redrives dead letters.
func (s *session) redriver() *deadletter.Redriver {
	names := make([]string, len(s.Destinations))
	for i, d := range s.Destinations {
		names[i] = d.Name
	}
	return &deadletter.Redriver{
		Pool: s.pool, Table: s.tableName(), Destinations: names, Timeout: s.SenderTimeout,
		Send: s.delivery.Send, Counted: s.Metrics.DeadLetters,
	}
}

// replayer returns the worker that replays delivered events.
func (s *session) replayer() *replay.Replayer {
	return &replay.Replayer{
		Store:          replay.NewStore(s.pool, s.held.fence, s.Table),
		Router:         s.Router,
		Send:           s.delivery.Send,
		HeadersDropped: s.Metrics.HeadersDropped,
		Retries:        func(err error) { s.Health.Retries("replay", err) },
		Log:            s.Log,
	}
}

// joiner returns the worker that accounts for partitions that are attached.
func (s *session) joiner() *members.Joiner {
	j := &members.Joiner{
		Store:    members.NewStore(s.pool, s.held.fence, s.Table),
		Reader:   func(t pgoutput.Table) *recovery.Reader { return recovery.NewReader(s.pool, s.Slot, t) },
		Position: func() pglogrepl.LSN { return s.tracker.Position().FlushLSN },
		Router:   s.Router,
		Send:     s.delivery.Send,
		Brought:  s.auditor.brought,
		Observer: s.Metrics,
		Retries:  func(err error) { s.Health.Retries("partitions", err) },
		Log:      s.Log.With("slot", s.Slot),
	}
	if s.HaltOnSlotLoss {
		j.Halt = s.auditor.missing
	}
	return j
}

// onceStreaming returns run, which waits until the stream is read: until then a recovery publishes from the table.
func (s *session) onceStreaming(run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-s.intake.begun:
			return run(ctx)
		}
	}
}

// lastWord writes the checkpoint of a session that ends with err.
func (s *session) lastWord(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(ctx, lastWordTimeout)
	defer cancel()
	position := s.tracker.Position()
	if errors.Is(err, errResumeMismatch) { // what the row counted were other rows: send the transaction from its start
		position.Transaction = checkpoint.Transaction{}
	}
	if saveErr := s.keeper.save(ctx, position); saveErr != nil {
		return errors.Join(err, saveErr)
	}
	return err
}

// drain waits until everything that was read is delivered.
func (s *session) drain(parts ...*task.Task) error {
	s.Log.Info("stopping: delivering what was read", "slot", s.Slot, "events", s.tracker.Load().Events)
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
		s.Log.Warn("stopping with events that are read and not delivered: they will be read again",
			"slot", s.Slot, "events", s.tracker.Load().Events, "drain_timeout", s.DrainTimeout.String())
	}
	return err
}

var errDrained = errors.New("drained")
