package relay

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

const (
	// membersInterval is how often the relay looks for partitions that were attached.
	membersInterval = time.Second
	// refreshInterval is how often it notes that those which it knows are accounted for. What was written to one since comes
	// twice if that is detached and attached again.
	refreshInterval = 15 * time.Second
)

// joiner accounts for the rows that entered the outbox table with a partition: the log did not bring them.
type joiner struct {
	*session
	store     *members.Store
	refreshed time.Time
}

// join accounts for partitions that are attached, until ctx ends. What fails is tried
// again: other parts of the session find out whether the database can be used.
func (s *session) join(ctx context.Context) error {
	if s.Table.Columns.Sequence == "" || s.Table.Columns.XID == "" { // such rows can neither be told apart nor be removed
		<-ctx.Done()
		return nil
	}
	j := &joiner{session: s, store: members.NewStore(s.pool, s.held.fence, s.Table)}
	for ctx.Err() == nil {
		err := postgres.WithCure(j.look(ctx))
		j.Health.Retries("partitions", err)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, errEventsMissing), errors.Is(err, slot.ErrFenced):
			return err
		case err != nil:
			s.Log.Warn("partitions: trying again", "slot", s.Slot, "err", err)
			task.Sleep(ctx, auditRetry)
		}
		task.Sleep(ctx, membersInterval)
	}
	return nil
}

func (j *joiner) look(ctx context.Context) error {
	joined, err := j.store.Joined(ctx)
	if err != nil {
		return err
	}
	for _, partition := range joined {
		if err := j.account(ctx, partition); err != nil {
			return err
		}
	}
	if time.Since(j.refreshed) < refreshInterval {
		return nil
	}
	j.refreshed = time.Now()
	return j.store.Refresh(ctx)
}

// account publishes the rows of a partition that the log did not bring. A partition that is created as one is empty.
func (j *joiner) account(ctx context.Context, partition members.Joined) error {
	empty, err := j.store.IsEmpty(ctx, partition)
	if err != nil {
		return err
	}
	if !empty {
		if err := j.store.Passed(ctx, partition, partition.After()); err != nil { // relay status shows it from now on
			return err
		}
		if err := j.awaitStream(ctx, partition); err != nil {
			return err
		}
		if err := j.publish(ctx, partition); err != nil {
			return err
		}
	}
	if err := j.store.Account(ctx, partition); err != nil {
		return err
	}
	j.Log.Debug("partition is accounted for", "slot", j.Slot, "partition", partition.String())
	return nil
}

// awaitStream waits until the stream has brought everything that had committed when the partition was found.
func (j *joiner) awaitStream(ctx context.Context, partition members.Joined) error {
	for j.tracker.Position().FlushLSN < partition.InsertLSN {
		if task.Sleep(ctx, auditInterval); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// publish sends the rows of a partition that were not brought, in order of seq, and notes after each page how far it is.
func (j *joiner) publish(ctx context.Context, partition members.Joined) error {
	reader := recovery.NewReader(j.pool, j.store.Table(partition))
	condition, args := j.store.Condition(partition)
	after, found := partition.After(), int64(0)
	for {
		page, last, err := reader.Page(ctx, after, condition, args...)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			j.tell(partition, found)
			return nil
		}
		missing, err := j.notBrought(ctx, partition, page)
		if err != nil {
			return err
		}
		if err := j.send(ctx, partition, missing, found == 0); err != nil {
			return err
		}
		after, found = last, found+int64(len(missing))
		if err := j.store.Passed(ctx, partition, after); err != nil {
			return err
		}
	}
}

// tell logs what became of the rows of a partition that the log did not bring. Those of a table that took the place of the
// outbox table are mostly a copy of it. The recovery that follows such a change publishes what its horizon does not
// cover, and the operator decides about the others.
func (j *joiner) tell(partition members.Joined, found int64) {
	switch log := j.Log.With("slot", j.Slot, "partition", partition.String(), "events", found); {
	case found == 0:
	case partition.IsRoot:
		log.Warn("the table has taken the place of another one, and its older rows count as delivered: relay replay sends those that were not")
	default:
		log.Info("published the rows that the partition was attached with")
	}
}

// notBrought returns the rows of page that this session has read neither from the log nor from the table.
func (j *joiner) notBrought(ctx context.Context, partition members.Joined, page []outbox.Envelope) (missing []outbox.Envelope, err error) {
	seqs := make([]int64, len(page))
	for i := range page {
		if seqs[i], err = strconv.ParseInt(page[i].Sequence, 10, 64); err != nil {
			return nil, fmt.Errorf("row of partition %s: its seq is no number: %w", partition, err)
		}
	}
	twin, err := j.store.HasTwin(ctx, partition, seqs)
	if err != nil {
		return nil, err
	}
	for i, seq := range seqs {
		if twin[seq] || !j.auditor.brought.Has(seq) {
			missing = append(missing, page[i])
		}
	}
	return missing, nil
}

// send delivers rows and waits until all are delivered or parked. Where the relay is to halt at a gap it sends none.
func (j *joiner) send(ctx context.Context, partition members.Joined, rows []outbox.Envelope, isFirst bool) error {
	if len(rows) == 0 || partition.IsRoot {
		return nil
	}
	if isFirst {
		j.Log.Error(eventsMissing, "slot", j.Slot, "partition", partition.String(), "first_seq", rows[0].Sequence,
			"reason", "the partition was attached with rows in it")
	}
	if j.HaltOnSlotLoss && !partition.IsRequested {
		return j.auditor.missing(ctx, int64(len(rows)))
	}
	j.Metrics.EventsMissing(int64(len(rows)))
	settled := make(chan struct{}, len(rows))
	for i := range rows {
		j.auditor.read(&rows[i])
		event := &delivery.Event{Row: delivery.Row{Sequence: rows[i].Sequence, XID: rows[i].XID}, Settled: func() { settled <- struct{}{} }}
		routed := j.Router.Message(&rows[i], &event.Message)
		event.Problem = routed.Problem
		j.Metrics.Recovered(routed.DroppedHeaders)
		j.delivery.Send(routed.Destination, event)
	}
	for range rows {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-settled:
		}
	}
	return nil
}
