package chaos

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// history collects all records of the run.
func (r *run) history(ctx context.Context) (*checker.History, error) {
	h := &checker.History{Receipts: r.receipts(), Absent: r.shape.absent()}
	for _, d := range r.destinations {
		h.Destinations = append(h.Destinations, d.Destination)
	}
	r.readLogs()
	r.recorder.into(h)
	r.noteRejoined(h)
	rows, err := r.admin.Query(ctx, r.shape.sql(`
		SELECT id::text, seq, payload,
			NOT emitted AND NOT EXISTS (SELECT FROM {rows} e WHERE e.{id}::text = c.id::text),
			c.id::text IN (`+r.shape.waiting()+`)
		FROM committed c ORDER BY seq`))
	if err != nil {
		return nil, fmt.Errorf("read committed events: %w", err)
	}
	if h.Rows, err = pgx.CollectRows(rows, pgx.RowToStructByPos[checker.Row]); err != nil {
		return nil, fmt.Errorf("read committed events: %w", err)
	}
	if h.DeadLetters, err = r.deadLetters(ctx); err != nil {
		return nil, err
	}
	h.Replays, err = r.replays(ctx)
	return h, err
}

// waiting selects the ids of the events that wait in the outbox table for their aggregate.
func (s *shape) waiting() string {
	if !s.repairs || s.unordered || s.columns.aggregate == "" {
		return `SELECT ''`
	}
	return s.sql(`SELECT e.{id}::text FROM {rows} e JOIN outbox_deferrals d ON ` + s.isOfAggregate("d", "e") + `
		WHERE d.state = 'deferred' AND NOT (` + s.isDone("d", "e") + `)`)
}

// isDone is a condition on a deferral and a row of the outbox table: the first counts the second as
// delivered.
func (s *shape) isDone(deferral, row string) string {
	return s.sql("pg_visible_in_snapshot(" + row + ".{xid}, " + deferral + ".known) AND " + row + ".{common_seq} < " +
		deferral + ".from_seq")
}

// blocked selects those of them whose aggregate has a dead letter before them. Rows that came with
// a table may wait behind one of a later row.
func (s *shape) blocked(tableJoins bool) string {
	if !s.repairs || s.unordered || s.columns.aggregate == "" {
		return `SELECT ''`
	}
	// once, because the planner would otherwise read all rows again for each row
	return s.sql(`WITH blocking AS MATERIALIZED (
			SELECT l.destination AS blocked_destination, letter.*
			FROM {rows} letter JOIN outbox_dead_letters l ON l.row_seq = letter.{common_seq}
			WHERE l.blocks_group AND l.state = 'parked')
		`) + s.waiting() + s.sql(` AND EXISTS (
			SELECT FROM blocking b WHERE b.blocked_destination = d.destination
			  AND (b.{seq} < e.{seq} OR `+strconv.FormatBool(tableJoins)+`) AND `+s.isOfAggregate("d", "b")+`)`)
}

// isOfAggregate is a condition on a deferral and a row of the outbox table.
func (s *shape) isOfAggregate(deferral, row string) string {
	condition := deferral + ".aggregate_id = " + row + ".{aggregate}::text"
	if s.columns.kind != "" {
		condition += " AND " + deferral + ".aggregate_type = " + row + ".{kind}::text"
	}
	return s.sql(condition)
}

func (r *run) receipts() []checker.Receipt {
	began := time.Now().Add(-r.clock())
	var all []checker.Receipt
	for _, d := range r.destinations {
		for _, receipt := range r.broker.Received(d.arn) {
			m := sent(receipt.Message)
			all = append(all, checker.Receipt{
				Destination: d.Name, At: m.SentAt.Sub(began), Relay: m.Sender,
				EventID: r.eventID(m), Table: r.attribute(m, tableAttribute), EventType: r.attribute(m, "event_type"),
				AggregateType: r.attribute(m, "aggregate_type"),
				AggregateID:   r.attribute(m, "aggregate_id"),
				Sequence:      r.attribute(m, "sequence"), DeduplicationID: m.DeduplicationID,
				Replay: r.attribute(m, "replay"), Body: r.content(m.Body),
			})
		}
	}
	return all
}

// eventID returns the id of the event of a message, behind the name of its table if a relay has
// several.
func (r *run) eventID(m *fakeaws.Message) string {
	id := r.attribute(m, "event_id")
	if table := r.attribute(m, tableAttribute); table != "" {
		return table + "/" + id
	}
	return id
}

// tableAttribute names the table of a message of several.
const tableAttribute = "outbox_table"

// missing returns the number of committed events that were neither delivered, parked nor discarded,
// and that do not wait behind a dead letter.
func (r *run) missing(ctx context.Context) (int, error) {
	pause(ctx, 50*time.Millisecond)
	rows, err := r.admin.Query(ctx,
		`SELECT id::text FROM committed EXCEPT
			SELECT event_id FROM (`+lastChanges+`) AS l WHERE state IN ('parked', 'discarded')
		EXCEPT (`+r.shape.blocked(hasSeveral(r.plan))+`)`)
	if err != nil {
		return 0, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, err
	}
	arrived := map[string]bool{}
	for _, d := range r.destinations {
		for _, receipt := range r.broker.Received(d.arn) {
			if m := sent(receipt.Message); r.attribute(m, "replay") == "" {
				arrived[r.eventID(m)] = true
			}
		}
	}
	missing := slices.DeleteFunc(ids, func(id string) bool { return arrived[id] })
	return len(missing), nil
}

// eventsMissing is in the log of a relay that found rows in the table which the log did not bring.
const eventsMissing = "event=events_missing"

// endsSession reports whether a line of a relay's log precedes its next session. A relay begins
// that as well when the stream proved to be complete after its publication was written.
func endsSession(line string) bool {
	return strings.Contains(line, "event=session_ended") || strings.Contains(line, "event=suspicion_ended")
}

// timesOut reports whether a line of a relay's log says that a request had no answer in time: the
// broker may have accepted its events, and they are sent again.
func timesOut(line string) bool {
	return strings.Contains(line, "event=destination_unavailable") && strings.Contains(line, "code=timeout")
}

// readLogs evaluates the logs of the relays. It notes lines that must never occur, and lines that
// explain repeated events.
func (r *run) readLogs() {
	for _, p := range r.relays.all {
		for _, line := range p.log.copy() {
			switch {
			case strings.Contains(line.Text, "panic:"), strings.Contains(line.Text,
				"DATA RACE"), strings.Contains(line.Text, "fatal error:"),
				strings.Contains(line.Text, eventsMissing) &&
					!(r.plan.Load.Partitioned && strings.Contains(line.Text, " partition=")):
				// No fault makes the relay miss rows that the log has.
				r.recorder.problem("%s: %s", p.name, line.Text)
			case endsSession(line.Text) && !r.plan.Calm():
				r.recorder.noticed(checker.Fault{
					Kind: "session ended", From: r.deposedAt(p, line.At), To: line.At, Repeats: true,
					Noticed: true,
				})
			// On a machine that stalls, a request takes longer than the relay waits for its
			// answer. A run without faults has no such limit.
			case timesOut(line.Text) && !r.plan.Calm():
				r.recorder.noticed(checker.Fault{
					Kind: "request timed out", From: line.At, To: line.At, Repeats: true,
					Noticed: true,
				})
			// While the window is full, a deferral begins with an older snapshot. The rows that
			// were delivered since then come again.
			case strings.Contains(line.Text, "event=deferred"):
				r.recorder.noticed(checker.Fault{
					Kind: "deferred", From: line.At, To: r.clock(), Repeats: true, Noticed: true,
				})
			// the relay then publishes the table again
			case strings.Contains(line.Text, "event=slot_adopted"):
				r.recorder.noticed(checker.Fault{
					Kind: "slot adopted", From: line.At, To: r.clock(), Repeats: true,
					Noticed: true,
				})
			}
		}
	}
}

// deposedAt returns the time at which another relay began to stream while the session of p, which
// ended at this time, had not noticed that it lost the slot. It returns ended if none did.
func (r *run) deposedAt(p *relay, ended time.Duration) time.Duration {
	began := p.log.streamedBefore(ended)
	for _, other := range r.relays.all {
		if other != p {
			ended = min(ended, other.log.streamedAfter(began))
		}
	}
	return ended
}

// noteRejoined sets the times at which deposed relays acquired the slot again.
func (r *run) noteRejoined(h *checker.History) {
	for i := range h.Faults {
		f := &h.Faults[i]
		for _, p := range r.relays.all {
			if p.name == f.Deposed {
				f.Rejoined = p.log.streamedAfter(f.DeposedAt)
			}
		}
	}
}
