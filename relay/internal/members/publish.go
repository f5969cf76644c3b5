package members

import (
	"context"
	"fmt"
	"strconv"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// publish sends the rows of a partition that were not brought, in order of seq, and notes after
// each page how far it is.
func (j *Joiner) publish(ctx context.Context, partition Joined) error {
	reader := j.Reader(j.Store.Table(partition))
	condition, args := j.Store.Condition(partition)
	after, found := partition.After(), int64(0)
	for {
		page, last, err := reader.Page(ctx, after, condition, args...)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			j.logOutcome(partition, found)
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
		if err := j.Store.Passed(ctx, partition, after); err != nil {
			return err
		}
	}
}

// logOutcome logs the outcome for the rows of a partition that the log did not bring. Those of a
// table that took the place of the outbox table are mostly a copy of it. The recovery that follows
// such a change publishes the rows outside of its horizon, and the operator decides about the
// others.
func (j *Joiner) logOutcome(partition Joined, found int64) {
	switch log := j.Log.With("partition", partition.String(), "events", found); {
	case found == 0:
	case j.isNewTable(partition):
		log.Info("published the rows that the table had before the publication streamed it")
	case partition.IsRoot:
		log.Warn("the table has taken the place of another one, and its older rows count as delivered: relay replay " +
			"sends those that were not")
	default:
		log.Info("published the rows that the partition was attached with")
	}
}

// row is a row of a partition.
type row struct {
	seq, common int64
	envelope    *outbox.Envelope
}

// notBrought returns the rows of page that [Joiner.Brought] does not have, and those whose seq
// another member has too.
func (j *Joiner) notBrought(ctx context.Context, partition Joined, page []outbox.Envelope) (missing []row, err error) {
	seqs := make([]int64, len(page))
	for i := range page {
		if seqs[i], err = strconv.ParseInt(page[i].Sequence, 10, 64); err != nil {
			return nil, fmt.Errorf("row of partition %s: its seq is no number: %w", partition, err)
		}
	}
	twin, err := j.Store.HasTwin(ctx, partition, seqs)
	if err != nil {
		return nil, err
	}
	for i, seq := range seqs {
		common, err := page[i].Source.Common(seq)
		if err != nil {
			return nil, fmt.Errorf("row of partition %s: %w", partition, err)
		}
		if twin[seq] || !j.Brought.Has(common) {
			missing = append(missing, row{seq, common, &page[i]})
		}
	}
	return missing, nil
}

// send delivers rows, and waits until each is delivered, parked, or waits in the table for a
// deferral. If the relay has to halt at a gap, send delivers none and returns the error of Halt.
func (j *Joiner) send(ctx context.Context, partition Joined, rows []row, isFirst bool) error {
	if len(rows) == 0 || partition.IsRoot && !j.isNewTable(partition) {
		return nil
	}
	if isFirst {
		j.announce(partition, rows[0].seq)
	}
	if j.Halt != nil && !partition.IsRequested && !j.isNewTable(partition) {
		return j.Halt(ctx, int64(len(rows)))
	}
	if !j.isNewTable(partition) {
		j.Observer.EventsMissing(int64(len(rows)))
	}
	snapshot, err := pgsnapshot.Parse(partition.Snapshot)
	if err != nil {
		return fmt.Errorf("send the rows of partition %s: %w", partition, err)
	}
	settled := make(chan struct{}, len(rows))
	for _, r := range rows {
		if err := j.deliver(ctx, r, snapshot, func() { settled <- struct{}{} }); err != nil {
			return err
		}
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

// announce logs that a partition has rows that the log did not bring. firstSeq is the lowest of
// their seqs.
func (j *Joiner) announce(partition Joined, firstSeq int64) {
	if j.isNewTable(partition) {
		j.Log.Warn("the table had rows before the publication streamed it: the relay publishes them from the table",
			"event", "table_had_rows", "table", partition.String(), "first_seq", firstSeq)
		return
	}
	j.Log.Error("the outbox table has events that the stream did not bring", "event", "events_missing",
		"partition", partition.String(), "first_seq", firstSeq, "reason", "the partition was attached with rows in it")
}

// deliver hands over a row. settled is called once the event is delivered or parked, or waits in
// the table for a deferral.
func (j *Joiner) deliver(ctx context.Context, r row, snapshot pgsnapshot.Snapshot, settled func()) error {
	j.Brought.Add(r.common)
	event := &delivery.Event{
		Row: delivery.Row{
			Sequence: r.envelope.Sequence, XID: r.envelope.XID, Source: r.envelope.Source,
			Writer: snapshot.Writer(r.envelope.XID),
		},
		Deferral: j.Gate.Claimed(r.envelope),
		Settled:  settled,
		Joined:   true,
	}
	routed := j.Router.Message(r.envelope, &event.Message)
	event.MarkUnusable(routed.ProblemCode, routed.Problem)
	event.HeadersDropped = routed.DroppedHeaders
	j.Observer.Recovered(routed.DroppedHeaders)
	for !j.Gate.SendJoined(routed.Destination, event) {
		if !task.Sleep(ctx, gateInterval) {
			return ctx.Err()
		}
	}
	return nil
}
