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

// Record is a stored dead letter with its state, as the commands show it.
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
	Message      message   `json:"message"`
}

// Selection selects dead letters. An empty field selects all.
type Selection struct {
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

// IsEmpty reports whether s selects all dead letters.
func (s Selection) IsEmpty() bool {
	return len(s.Positions) == 0 && s.EventID == "" && s.Destination == "" && s.Group == "" && s.Code == ""
}

const selected = `
	(cardinality($1::bigint[]) = 0 OR position = ANY ($1)) AND ($2 = ''
		OR coalesce(row_event_id, event_id) = $2) AND ($3 = '' OR destination = $3)
	AND ($4 = '' OR message_group = $4) AND (cardinality($5::text[]) = 0 OR code = ANY ($5))
		AND (cardinality($6::text[]) = 0 OR state = ANY ($6))`

func (s Selection) args(more ...any) []any {
	positions, states := s.Positions, s.States
	if positions == nil {
		positions = []int64{}
	}
	if states == nil {
		states = []string{}
	}
	return append([]any{positions, s.EventID, s.Destination, s.Group, codes(s.Code), states}, more...)
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

// List returns the selected dead letters in the order of their positions.
func List(ctx context.Context, pool *pgxpool.Pool, s Selection) ([]Record, error) {
	rows, err := pool.Query(ctx, `
		SELECT position, state, coalesce(row_event_id, event_id), destination, message_group, blocks_group, code,
			reason, attempts, redrives, parked_at, event
		FROM outbox_dead_letters WHERE `+selected+` ORDER BY position LIMIT nullif($7, 0)`, s.args(s.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	letters, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Record])
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return letters, nil
}

// MarkRedriving asks the running relay to send the selected parked dead letters again, in order,
// and returns their number. The relay sends them with a deduplication id that no broker has seen.
// The events parked behind them follow.
func MarkRedriving(ctx context.Context, pool *pgxpool.Pool, s Selection) (int64, error) {
	tag, err := pool.Exec(ctx, `
		UPDATE outbox_dead_letters SET state = 'redriving', redrives = redrives + 1, updated_at = clock_timestamp()
		WHERE state = 'parked' AND `+selected, s.args()...)
	if err != nil {
		return 0, fmt.Errorf("redrive dead letters: %w", err)
	}
	return tag.RowsAffected(), nil
}

// MarkDiscarded discards the selected parked dead letters and returns their number. The events
// parked behind them are redriven.
func MarkDiscarded(ctx context.Context, pool *pgxpool.Pool, s Selection) (discarded int64, err error) {
	err = pool.QueryRow(ctx, `
		WITH redriven AS (
			UPDATE outbox_dead_letters SET state = 'discarded', updated_at = clock_timestamp()
			WHERE state = 'parked' AND `+selected+` RETURNING *
		), followers AS (`+follow+`)
		SELECT count(*) FROM redriven`, s.args()...).Scan(&discarded)
	if err != nil {
		return 0, fmt.Errorf("discard dead letters: %w", err)
	}
	return discarded, nil
}
