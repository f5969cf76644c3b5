package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
)

// Record is a stored dead letter with its state, without its message.
type Record struct {
	Position     int64     `json:"position"`
	State        string    `json:"state"`
	EventID      string    `json:"event_id"`
	Destination  string    `json:"destination"`
	MessageGroup string    `json:"message_group"`
	BlocksGroup  bool      `json:"blocks_group"`
	Code         string    `json:"code"`
	Reason       string    `json:"reason"`
	Attempts     int       `json:"attempts"`
	Redrives     int       `json:"redrives"`
	ParkedAt     time.Time `json:"parked_at"`
	// Behind is the position of the first refused event of the message group, behind which this
	// event waits. It is nil for an event that was refused itself, and where none of them is open
	// any more.
	Behind *int64 `json:"behind,omitempty"`
}

// Whole is a dead letter with its message.
type Whole struct {
	Record
	Message message `json:"message"`
}

// Selection selects dead letters of one slot and its outbox table. Another empty field selects all.
type Selection struct {
	Slot        string
	Positions   []int64
	EventID     string
	Destination string
	Group       string
	Code        string
	States      []string
	Limit       int // 0: all
}

// ErrNothingSelected means that no dead letter is selected: a change of all of them needs --all.
var ErrNothingSelected = errors.New(
	"select dead letters by position, --event-id, --group, --code or --destination, or say --all")

// IsEmpty reports whether s selects all dead letters of its slot.
func (s Selection) IsEmpty() bool {
	return len(s.Positions) == 0 && s.EventID == "" && s.Destination == "" && s.Group == "" && s.Code == ""
}

// selected is a condition on a dead letter d. Its arguments are those of a Selection, $1 to $7.
var selected = OfSlot + `
	AND (pg_catalog.cardinality($2::bigint[]) = 0 OR d.position = ANY ($2))
	AND ($3 = '' OR coalesce(d.row_event_id, d.event_id) = $3) AND ($4 = '' OR d.destination = $4)
	AND ($5 = '' OR d.message_group = $5) AND (pg_catalog.cardinality($6::text[]) = 0 OR d.code = ANY ($6))
	AND (pg_catalog.cardinality($7::text[]) = 0 OR d.state = ANY ($7))`

func (s Selection) args(more ...any) []any {
	positions, states := s.Positions, s.States
	if positions == nil {
		positions = []int64{}
	}
	if states == nil {
		states = []string{}
	}
	return append([]any{s.Slot, positions, s.EventID, s.Destination, s.Group, codes(s.Code), states}, more...)
}

// codes returns every code that dead letters selected by code carry. An earlier relay stored
// another word for CodeUnavailable, and both words select both.
func codes(code string) []string {
	const earlierUnavailable = "DestinationAway"
	switch code {
	case "":
		return []string{}
	case delivery.CodeUnavailable, earlierUnavailable:
		return []string{delivery.CodeUnavailable, earlierUnavailable}
	}
	return []string{code}
}

// recordColumns are the columns of a Record, of a dead letter d of the slot in $1.
var recordColumns = `d.position, d.state, coalesce(d.row_event_id, d.event_id), d.destination, d.message_group,
	d.blocks_group, d.code, d.reason, d.attempts, d.redrives, d.parked_at,
	CASE WHEN d.code = ` + blocked + ` THEN (
		SELECT min(o.position) FROM outbox_dead_letters o
		WHERE (o.outbox_table, o.destination, o.message_group) = (d.outbox_table, d.destination, d.message_group)
			AND o.blocks_group AND o.state IN ('parked', 'redriving') AND o.code <> ` + blocked + `
			AND ` + isOwn("o") + `
	) END`

// List returns the selected dead letters: the refused ones first, and then those that wait behind
// them, both in the order of their positions.
func List(ctx context.Context, pool *pgxpool.Pool, s Selection) ([]Record, error) {
	return list[Record](ctx, pool, s, recordColumns, `d.code = `+blocked+`, d.position`)
}

// ListWhole returns the selected dead letters with their messages, in the order of their positions.
func ListWhole(ctx context.Context, pool *pgxpool.Pool, s Selection) ([]Whole, error) {
	return list[Whole](ctx, pool, s, recordColumns+`, d.event`, `d.position`)
}

func list[T any](ctx context.Context, pool *pgxpool.Pool, s Selection, columns, order string) ([]T, error) {
	rows, err := pool.Query(ctx, `
		SELECT `+columns+` FROM outbox_dead_letters d WHERE `+selected+` ORDER BY `+order+` LIMIT nullif($8, 0)`,
		s.args(s.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	letters, err := pgx.CollectRows(rows, pgx.RowToStructByPos[T])
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return letters, nil
}

// MarkRedriving asks the running relay to send the selected parked dead letters again, in order,
// and returns their Outcome, which is open yet. The relay sends them with a deduplication id that
// no broker has seen. The events parked behind them follow.
func MarkRedriving(ctx context.Context, pool *pgxpool.Pool, s Selection) (*Outcome, error) {
	rows, err := pool.Query(ctx, `
		UPDATE outbox_dead_letters d SET state = 'redriving', redrives = redrives + 1, updated_at = clock_timestamp()
		WHERE state = 'parked' AND `+selected+` RETURNING d.position, d.attempts`, s.args()...)
	if err != nil {
		return nil, fmt.Errorf("redrive dead letters: %w", err)
	}
	open, err := pgx.CollectRows(rows, pgx.RowToStructByPos[marked])
	if err != nil {
		return nil, fmt.Errorf("redrive dead letters: %w", err)
	}
	return newOutcome(pool, s.Slot, open), nil
}

// MarkDiscarded discards the selected parked dead letters and returns their number. The events
// parked behind them are redriven.
func MarkDiscarded(ctx context.Context, pool *pgxpool.Pool, s Selection) (discarded int64, err error) {
	err = pool.QueryRow(ctx, `
		WITH redriven AS (
			UPDATE outbox_dead_letters d SET state = 'discarded', updated_at = clock_timestamp()
			WHERE state = 'parked' AND `+selected+` RETURNING *
		), followers AS (`+follow+`)
		SELECT count(*) FROM redriven`, s.args()...).Scan(&discarded)
	if err != nil {
		return 0, fmt.Errorf("discard dead letters: %w", err)
	}
	return discarded, nil
}
