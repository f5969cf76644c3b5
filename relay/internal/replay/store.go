package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/tablereader"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// lookRows is how many rows of the table one statement reads. That takes a few milliseconds,
// however few of them are selected.
const lookRows = 1000

// statementTimeout bounds each statement of the relay that holds the slot.
const statementTimeout = 10 * time.Second

// Store returns the events to replay to the relay that holds the slot, and records its progress.
type Store struct {
	pool   *pgxpool.Pool
	fence  slot.Fence
	table  outboxtable.Table
	events *events // of the table of the last replay
}

// events finds the events of one table.
type events struct {
	table  outboxtable.Table
	reader *tablereader.Reader
	look   string // statement
	bySeq  string // condition
}

// NewStore returns a Store for the relay that fence belongs to.
func NewStore(pool *pgxpool.Pool, fence slot.Fence, table outboxtable.Table) *Store {
	return &Store{pool: pool, fence: fence, table: table}
}

// eventsOf returns the events of the table of a replay.
func (s *Store) eventsOf(r *Replay) (*events, error) {
	if s.events != nil && s.events.table.String() == r.Table {
		return s.events, nil
	}
	table, found := s.table.Named(r.Table)
	if !found {
		return nil, fmt.Errorf("table %s of replay %d is not among those of the relay: restore it, or run relay "+
			"replay --stop=%[2]d", r.Table, r.ID)
	}
	s.events = &events{
		table:  table,
		reader: tablereader.New(s.pool, table),
		look: statement(table, `
			WITH looked AS MATERIALIZED (
				SELECT e.{seq} AS seq, {event_id} AS id, CASE WHEN {selected} AND {filter} THEN {fate} END AS fate
				FROM {table} e WHERE e.{seq} > $9::bigint AND e.{seq} <= $10::bigint ORDER BY e.{seq}
				FETCH FIRST $11 ROWS WITH TIES
			), page AS (
				SELECT seq, id, fate FROM looked WHERE fate IN ('delivered', 'closed')
				ORDER BY seq FETCH FIRST $12 ROWS WITH TIES
			)
			SELECT ARRAY(SELECT seq FROM page ORDER BY seq, id), ARRAY(SELECT id FROM page ORDER BY seq, id),
				ARRAY(SELECT fate = 'closed' FROM page ORDER BY seq, id),
				CASE WHEN (SELECT count(*) FROM page) >= $12 THEN (SELECT max(seq) FROM page)
					ELSE (SELECT max(seq) FROM looked) END`),
		bySeq: outboxtable.Quote(table.Columns.Sequence) + " = ANY ($4::bigint[])",
	}
	return s.events, nil
}

// Next returns the replay to send, or nil. A relay with several tables sends those of any of them.
func (s *Store) Next(ctx context.Context) (*Replay, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	r, err := scan(s.pool.QueryRow(ctx, `SELECT `+columns+` FROM outbox_replays r
		WHERE r.slot_name = $1 AND (r.outbox_table = $2 OR $3) AND r.state = 'running'`,
		s.fence.Slot, s.table.String(), s.table.IsSeveral()))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for a replay: %w", err)
	}
	return r, nil
}

// Page has the next events of a replay.
type Page struct {
	Events []outbox.Envelope
	Last   int64 // no further event is selected up to this seq
	End    bool  // no page follows
}

// Page returns at most limit events of r after those that are done, in the order of seq. It reads a
// thousand rows at most, so a page may have no event and not be the last one.
func (s *Store) Page(ctx context.Context, r *Replay, limit int) (Page, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	from, err := s.eventsOf(r)
	if err != nil {
		return Page{}, err
	}
	var seqs []int64
	var ids []string
	var closed []bool
	var last *int64
	args := append(r.Selection.args(), s.table.Key(), r.Horizon, s.fence.Slot, r.PassedSeq, r.LastSeq, lookRows, limit)
	if err := s.pool.QueryRow(ctx, from.look, args...).Scan(&seqs, &ids, &closed, &last); err != nil {
		return Page{}, fmt.Errorf("look for events of replay %d behind seq %d: %w", r.ID, r.PassedSeq, err)
	}
	switch {
	case last == nil:
		return Page{End: true}, nil
	case len(seqs) == 0:
		return Page{Last: *last}, nil
	}
	events, lastRead, err := from.reader.Page(ctx, r.PassedSeq, from.bySeq, slices.Compact(slices.Clone(seqs)))
	if err != nil {
		return Page{}, err
	}
	page := Page{Last: *last}
	if len(events) > 0 && lastRead < seqs[len(seqs)-1] { // large events: the next page has the others
		page.Last = lastRead
	}
	page.Events = r.selectedOf(events, seqs, ids, closed)
	return page, nil
}

// selectedOf excludes events that only have the seq of a selected one, because rows of different
// partitions may have the same seq. It also excludes events that were not delivered when r was
// requested, because they waited for their destination: the relay delivers them by itself. An event
// whose dead letter is closed did not wait.
func (r *Replay) selectedOf(events []outbox.Envelope, seqs []int64, ids []string, closed []bool) []outbox.Envelope {
	closedBy := make(map[string]bool, len(seqs))
	for i, seq := range seqs {
		closedBy[strconv.FormatInt(seq, 10)+" "+ids[i]] = closed[i]
	}
	return slices.DeleteFunc(events, func(e outbox.Envelope) bool {
		isClosed, selected := closedBy[e.Sequence+" "+cmp.Or(e.ID, "seq:"+e.Sequence)]
		return !selected || !isClosed && r.Deferrals.Wait(&e)
	})
}

// Outcome counts the results of the events of a page.
type Outcome struct {
	Sent, Refused int
	LastRefusal   string // of the refused ones
}

// Passed records that a page of r is done, and returns the new state of r: an operator may have
// stopped it. It returns [slot.ErrFenced] if this relay no longer holds the slot.
func (s *Store) Passed(ctx context.Context, r *Replay, page Page, o Outcome) (*Replay, error) {
	return s.update(ctx, r, `passed_seq = $5, sent = r.sent + $6::bigint, refused = r.refused + $7::bigint,
		last_refusal = coalesce(nullif($8, ''), r.last_refusal)`, page.Last, o.Sent, o.Refused, o.LastRefusal)
}

// Finish records that r is done, also if an operator stopped it in between.
func (s *Store) Finish(ctx context.Context, r *Replay) error {
	_, err := s.update(ctx, r, `state = 'done'`)
	return err
}

func (s *Store) update(ctx context.Context, r *Replay, set string, args ...any) (*Replay, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	updated, err := scan(s.pool.QueryRow(ctx, `
		UPDATE outbox_replays r SET `+set+`, updated_at = clock_timestamp() FROM relay_checkpoints c
		WHERE r.id = $4 AND r.slot_name = c.slot_name AND `+slot.FenceSQL+`
			RETURNING `+columns, s.fence.Args(append([]any{r.ID}, args...)...)...))
	if errors.Is(err, pgx.ErrNoRows) {
		err = slot.ErrFenced
	}
	if err != nil {
		return nil, fmt.Errorf("note how far replay %d is: %w", r.ID, err)
	}
	return updated, nil
}
