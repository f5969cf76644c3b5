// Package deadletter keeps the events that their destination refused for good.
package deadletter

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// Store parks events on behalf of the relay that holds the slot. It is the [delivery.Parker].
type Store struct {
	pool  *pgxpool.Pool
	fence slot.Fence
	table string // schema.name of the outbox table
}

// NewStore returns a Store for the relay that fence belongs to.
func NewStore(pool *pgxpool.Pool, fence slot.Fence, table string) *Store {
	return &Store{pool: pool, fence: fence, table: table}
}

// message is how a dead letter keeps what would have been sent. The body is text, not JSON in JSON: it stays as it is.
type message struct {
	Body            string      `json:"body"`
	Attributes      []attribute `json:"attributes"`
	GroupID         string      `json:"message_group_id"`
	DeduplicationID string      `json:"message_deduplication_id"`
}

type attribute struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}

// An event that comes again because the relay was stopped before it could confirm finds itself parked, and stays as it is.
const park = `
	INSERT INTO outbox_dead_letters AS d
		(event_id, outbox_table, destination, message_group, blocks_group, code, reason, attempts, event)
	SELECT $4, $5, $6, $7, $8::boolean, $9, $10, $11::integer, $12::json
	FROM relay_checkpoints c WHERE ` + slot.FenceSQL + `
	ON CONFLICT (event_id, destination) DO UPDATE SET event_id = d.event_id`

// Park stores an event. It returns [slot.ErrFenced] if the relay is no longer the holder of the slot.
func (s *Store) Park(ctx context.Context, p delivery.Parked) error {
	event, err := json.Marshal(newMessage(p.Message))
	if err != nil {
		return fmt.Errorf("park event %s: %w", p.Message.EventID, err)
	}
	tag, err := s.pool.Exec(ctx, park, s.fence.Args(p.Message.EventID, s.table, p.Destination, p.Message.GroupID,
		p.BlocksGroup, p.Code, p.Reason, p.Attempts, string(event))...)
	if err == nil && tag.RowsAffected() == 0 {
		err = slot.ErrFenced
	}
	if err != nil {
		return fmt.Errorf("park event %s: %w", p.Message.EventID, err)
	}
	return nil
}

func newMessage(m *sink.Message) message {
	stored := message{Body: m.Body, Attributes: []attribute{}, GroupID: m.GroupID, DeduplicationID: m.DeduplicationID}
	for _, a := range m.Attributes {
		stored.Attributes = append(stored.Attributes, attribute{Name: a.Name, Type: a.DataType, Value: a.Value})
	}
	return stored
}

// Blocked returns, for each destination, the message groups that a parked event blocks, with the id of the first such event.
func Blocked(ctx context.Context, pool *pgxpool.Pool, table string) (map[string]map[string]string, error) {
	rows, err := pool.Query(ctx, `
		SELECT DISTINCT ON (destination, message_group) destination, message_group, event_id
		FROM outbox_dead_letters
		WHERE outbox_table = $1 AND blocks_group AND state IN ('parked', 'redriving')
		ORDER BY destination, message_group, position`, table)
	if err != nil {
		return nil, fmt.Errorf("read blocked message groups: %w", err)
	}
	blocked := map[string]map[string]string{}
	var destination, group, event string
	_, err = pgx.ForEachRow(rows, []any{&destination, &group, &event}, func() error {
		if blocked[destination] == nil {
			blocked[destination] = map[string]string{}
		}
		blocked[destination][group] = event
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read blocked message groups: %w", err)
	}
	return blocked, nil
}

// Count returns how many events are parked.
func Count(ctx context.Context, pool *pgxpool.Pool) (parked int64, err error) {
	err = pool.QueryRow(ctx, `SELECT count(*) FROM outbox_dead_letters WHERE state IN ('parked', 'redriving')`).Scan(&parked)
	if err != nil {
		return 0, fmt.Errorf("count dead letters: %w", err)
	}
	return parked, nil
}
