package relay

import (
	"context"

	"github.com/outbox-relay/outbox-relay/relay/internal/audit"
	"github.com/outbox-relay/outbox-relay/relay/internal/deadletter"
	"github.com/outbox-relay/outbox-relay/relay/internal/deferral"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/operator"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/replay"
	"github.com/outbox-relay/outbox-relay/relay/internal/retention"
	"github.com/outbox-relay/outbox-relay/relay/internal/tablereader"
	"github.com/outbox-relay/outbox-relay/relay/internal/watch"
)

// lateAuditor is the Auditor of the Handler. It gets its Auditor after the Handler is created.
type lateAuditor struct{ *audit.Auditor }

func (s *session) recoverer() *recovery.Worker {
	return &recovery.Worker{
		Pool: s.pool, Store: s.store, Fence: s.held.Fence, Row: s.held.Row, Table: s.Table,
		Emitted: s.Emitted,
		Stream:  s.held.Stream, Handler: s.handler, Tracker: s.tracker,
		SuspicionEnded: s.checkpointer.SuspicionEnded(), Timeout: s.SenderTimeout, Health: s.Health, Log: s.Log,
	}
}

func (s *session) watcher() *watch.Watcher {
	return &watch.Watcher{
		Pool: s.pool, Commits: s.commits(), Slot: s.Slot, Table: s.Table, Publication: s.Publication,
		PID: s.held.Fence.PID, Timeout: s.SenderTimeout, Retries: s.retries("walsender"),
		Unlogged:     s.retries("the search for rows outside of the log"),
		NoteUnlogged: members.NewStore(s.pool, s.held.Fence, s.Table).NoteUnlogged, Log: s.Log,
	}
}

func (s *session) redriver() *deadletter.Redriver {
	return &deadletter.Redriver{
		Pool: s.pool, Slot: s.Slot, Table: s.Table.Key(), Destinations: s.names(), Timeout: s.SenderTimeout,
		RefuseMoved: deadletter.NewStore(s.pool, s.held.Fence, s.Table.Key()).RefuseMoved,
		Send:        s.delivery.Send, Counted: s.Metrics.DeadLetters,
	}
}

func (s *session) replayer() *replay.Replayer {
	return &replay.Replayer{
		Store:          replay.NewStore(s.pool, s.held.Fence, s.Table),
		Router:         s.Router,
		Send:           s.delivery.Send,
		Dropped:        s.Observer.Dropped,
		HeadersDropped: s.Metrics.HeadersDropped,
		Retries:        s.retries("replay"),
		Log:            s.Log,
	}
}

// deferrer returns the worker that defers the events of unavailable destinations and of busy
// aggregates, and delivers them.
func (s *session) deferrer() *deferral.Worker {
	pageOf := func(t outboxtable.Table) deferral.Page { return tablereader.New(s.pool, t).Page }
	return &deferral.Worker{
		Store:       s.deferrals,
		Rows:        s.withOutside(deferral.NewRows(s.deferrals, s.Table, pageOf)),
		Gate:        s.gate,
		Senders:     s.delivery,
		Router:      s.Router,
		Names:       s.names(),
		MaxBytes:    s.Window.Bytes / 4,
		Begins:      s.Delivery.ParkAfter > 0 && s.cannotPause == "",
		Groups:      s.cannotWait == "",
		CannotPause: s.cannotPause,
		Paused:      s.paused,
		Begun:       s.handler.Begun(),
		Window:      s.tracker,
		Bounds:      s.Window,
		Observer:    s.Metrics,
		Retries:     s.retries("deferral"),
		Log:         s.Log.With("slot", s.Slot),
	}
}

// withOutside has rows find those of tables that the publication does not stream now.
func (s *session) withOutside(rows *deferral.Rows) *deferral.Rows {
	if !s.Table.IsSeveral() {
		return rows
	}
	outside := s.outside()
	return rows.Outside(outside.Find)
}

// openGate returns the gate between the stream and delivery, with the stored deferrals. The routes
// of now are added to those before a row is sent by them.
func (s *session) openGate(ctx context.Context) (err error) {
	s.deferrals = deferral.NewStore(s.pool, s.held.Fence, s.Table.Key(), s.SenderTimeout)
	routes, row := s.Router.Text(s.names()), s.held.Row
	start := deferral.Start{
		Horizon: row.Horizon, Routes: routes, Share: s.Window.Events / 4, ShareBytes: s.Window.Bytes / 4,
	}
	switch {
	case row.Recovery.IsMarked(): // the session reads the slot
		start.Horizon = row.Recovery.From
	case row.Recovery != nil:
		start.Horizon, start.Recovered = row.Recovery.To, row.Recovery.To
	}
	if start.Deferrals, err = s.deferrals.List(ctx); err != nil {
		return err
	}
	if len(start.Deferrals) > 0 && !s.Table.IsRepairable() {
		return operator.Needed("events of slot %s wait in the table for a destination, and %s: name the columns until "+
			"these events are delivered", s.Slot, outboxtable.WhyNotRepairable(s.Table))
	}
	if s.gate, err = deferral.NewGate(s.delivery, s.names(), start); err != nil {
		return err
	}
	if err := s.deferrals.AddRoutes(ctx, routes); err != nil {
		return err
	}
	return s.mayDefer(ctx)
}

// mayDefer finds out whether events may wait in the outbox table.
func (s *session) mayDefer(ctx context.Context) (err error) {
	s.cannotPause, err = deferral.MissingForAll(ctx, s.pool, s.Table, s.RowsStay)
	if err != nil {
		return err
	}
	if s.cannotWait = s.cannotPause; s.Table.IsSeveral() {
		s.cannotWait, err = deferral.Missing(ctx, s.pool, s.Table, s.RowsStay)
	}
	if err == nil && s.cannotWait != "" {
		s.Log.Info("no events wait in the outbox table: an aggregate that is far behind holds back the others, and "+
			"events behind a dead letter, or of a destination that is unavailable for RELAY_PARK_AFTER, become dead "+
			"letters",
			"slot", s.Slot, "reason", s.cannotWait)
	}
	return err
}

func (s *session) joiner() *members.Joiner {
	j := &members.Joiner{
		Store:    members.NewStore(s.pool, s.held.Fence, s.Table),
		Reader:   func(t outboxtable.Table) *tablereader.Reader { return tablereader.New(s.pool, t) },
		Position: s.position,
		Router:   s.Router,
		Gate:     s.gate,
		Brought:  s.auditor.Brought,
		Observer: s.Metrics,
		Retries:  s.retries("partitions"),
		Log:      s.Log.With("slot", s.Slot),
	}
	if s.HaltOnSlotLoss {
		j.Halt = s.auditor.Missing
	}
	return j
}

// onceStreaming returns a function that waits until the stream is read, and then runs. Until then a
// recovery publishes from the table. If nothing can be read from the table, it only waits.
func (s *session) onceStreaming(run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-s.handler.Begun():
		}
		if !s.Table.IsRepairable() {
			<-ctx.Done()
			return nil
		}
		return run(ctx)
	}
}

// replay sends the events of replays until ctx ends. A session that recovers in place ends by
// itself, and the next one would send the events again that this one sends in its last moment.
func (s *session) replay(ctx context.Context) error {
	if s.held.Row.IsInPlace() {
		return nil
	}
	return s.replayer().Run(ctx)
}

// retain removes delivered rows until ctx ends, if Retention is set.
func (s *session) retain(ctx context.Context) error {
	if s.Retention == 0 {
		return nil
	}
	var all []*retention.Retention
	for _, table := range s.Table.Each() {
		all = append(all, &retention.Retention{
			Remover:  retention.NewRemover(s.pool, s.held.Fence, table, s.Retention),
			Age:      s.Retention,
			Observer: s.Metrics,
			Log:      s.Log,
			Behind:   func() bool { return s.tracker.Load().Events >= s.Window.Events },
		})
	}
	return retention.RunAll(ctx, all)
}
