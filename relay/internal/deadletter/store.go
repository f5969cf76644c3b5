// Package deadletter stores the events that their destination refused for good, and returns them
// for a redrive.
package deadletter

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Store stores dead letters for the relay that holds the slot. It is the [delivery.Parker].
type Store struct {
	pool  *pgxpool.Pool
	fence slot.Fence
	table string // schema.name of the outbox table
	turn  chan struct{}
}

// NewStore returns a Store for the relay that fence belongs to.
func NewStore(pool *pgxpool.Pool, fence slot.Fence, table string) *Store {
	return &Store{pool: pool, fence: fence, table: table, turn: make(chan struct{}, 1)}
}

// message is the stored form of a message. The body is text, not JSON in JSON, so it stays as it
// is. JSON cannot hold bytes that are not UTF-8; BodyBytes has them.
type message struct {
	Body            string      `json:"body"`
	BodyBytes       []byte      `json:"body_base64,omitempty"`
	BodyLength      int         `json:"body_length,omitempty"` // in bytes, of a body that is shown shortened
	Attributes      []attribute `json:"attributes"`
	Own             int         `json:"own_attributes,omitempty"` // as in [sink.Message]
	GroupID         string      `json:"message_group_id"`
	TenantID        *string     `json:"tenant_id,omitempty"` // if it is not the group
	Type            *string     `json:"type,omitempty"`      // if it is not the attribute event_type
	DeduplicationID string      `json:"message_deduplication_id"`
}

type attribute struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}

// An event that comes again, because the relay stopped before it could confirm, is already parked
// and stays as it is. Its row distinguishes it from every other event. An event that is parked
// behind dead letters which are all being redriven follows them.
//
// A dead letter without a row is from an older relay. It is the one of this event if it contains
// the very same message, so no event is dropped without a dead letter of its own. event_id is
// unique, because an older relay that runs at the same time needs that. A suffix is added if the
// dead letter of another row has it, or if no index could hold it.
const park = `
	WITH holder AS (
		SELECT FROM relay_checkpoints c WHERE ` + slot.FenceSQL + `
	), known AS (` + adopt + `
	), parked AS (
		INSERT INTO outbox_dead_letters AS d
			(event_id, outbox_table, destination, message_group, blocks_group, code, reason, attempts, event, state,
			 slot_name, row_key, row_seq, row_event_id)
		SELECT CASE WHEN octet_length($4) > ` + longestIndexed + ` OR EXISTS (
				SELECT FROM outbox_dead_letters o WHERE o.outbox_table = $5 AND o.event_id = $4 AND o.destination = $6
			) THEN left($4, 128) || ' ' || gen_random_uuid() ELSE $4 END,
			$5, $6, $11, $12::boolean, $13, $14, $15::integer, $10::json,
			CASE WHEN $12::boolean AND $13 = '` + delivery.CodeBlocked + `' AND (
				SELECT bool_and(o.state = 'redriving') FROM outbox_dead_letters o
				WHERE o.outbox_table = $5 AND o.destination = $6 AND o.message_group = $11 AND o.blocks_group
					AND o.state IN ('parked', 'redriving')
			) THEN 'redriving' ELSE 'parked' END,
			$1, $7, $8::bigint, $4
		FROM holder WHERE NOT EXISTS (SELECT FROM known)
		ON CONFLICT (outbox_table, slot_name, destination, row_key) WHERE row_key IS NOT NULL DO UPDATE
			SET event_id = d.event_id
		RETURNING d.position
	)
	SELECT position FROM known UNION ALL SELECT position FROM parked`

// adopt gives the dead letter that an older relay stored of an event the row of the event. Its
// arguments are those of [Store.rowArgs].
const adopt = `
		UPDATE outbox_dead_letters d SET slot_name = $1, row_key = $7, row_seq = $8::bigint, row_event_id = $4
		FROM holder
		WHERE d.outbox_table = $5 AND d.event_id = $4 AND d.destination = $6 AND d.row_key IS NULL
		  AND $9::boolean AND d.event::text = $10
		  AND NOT EXISTS (
			SELECT FROM outbox_dead_letters o
			WHERE o.outbox_table = $5 AND o.slot_name = $1 AND o.destination = $6 AND o.row_key = $7)
		RETURNING d.position`

// letterOf returns the dead letter of an event, in any state.
const letterOf = `
	WITH holder AS (
		SELECT FROM relay_checkpoints c WHERE ` + slot.FenceSQL + `
	), known AS (` + adopt + `
	)
	SELECT position FROM known UNION ALL
	SELECT d.position FROM holder, outbox_dead_letters d
	WHERE d.outbox_table = $5 AND d.slot_name = $1 AND d.destination = $6 AND d.row_key = $7 AND d.row_key IS NOT NULL`

// longestIndexed bounds the event id in an index, in bytes. An entry of a B-tree holds 2,704 in
// all.
const longestIndexed = "1024"

// Park implements [delivery.Parker]. It returns [slot.ErrFenced] if the relay no longer holds the
// slot.
func (s *Store) Park(ctx context.Context, p delivery.DeadLetter) error {
	if p.Position != 0 {
		return s.parkAgain(ctx, p)
	}
	event, err := json.Marshal(newMessage(p.Message))
	if err != nil {
		return fmt.Errorf("park event %s: %w", p.Message.EventID, err)
	}
	args, err := s.rowArgs(p, string(event), p.Message.GroupID, p.BlocksGroup, p.Code, p.Reason, p.Attempts)
	if err != nil {
		return fmt.Errorf("park event %s: %w", p.Message.EventID, err)
	}
	insert := func() error { return s.exec(ctx, "park event "+p.Message.EventID, park, args...) }
	err = insert()
	// another relay parked an event of the same id concurrently; its row is visible now
	if isUniqueViolation(err) {
		err = insert()
	}
	return err
}

// rowArgs returns the arguments of [adopt], and more behind them.
func (s *Store) rowArgs(p delivery.DeadLetter, event string, more ...any) ([]any, error) {
	seq, err := rowSeq(p.Row)
	if err != nil {
		return nil, err
	}
	id := p.Message.EventID
	return append([]any{id, s.table, p.Destination, p.Row.Key(id), seq, p.Message.Body != "", event}, more...), nil
}

// IsParked implements [delivery.Parker].
func (s *Store) IsParked(ctx context.Context, p delivery.DeadLetter) (parked bool, err error) {
	stored, err := json.Marshal(newMessage(p.Message))
	if err != nil {
		return false, fmt.Errorf("look for the dead letter of event %s: %w", p.Message.EventID, err)
	}
	args, err := s.rowArgs(p, string(stored))
	if err != nil {
		return false, fmt.Errorf("look for the dead letter of event %s: %w", p.Message.EventID, err)
	}
	done, err := s.takeTurn(ctx)
	if err != nil {
		return false, fmt.Errorf("look for the dead letter of event %s: %w", p.Message.EventID, err)
	}
	defer done()
	found, err := s.pool.Exec(ctx, letterOf, s.fence.Args(args...)...)
	if err != nil {
		return false, fmt.Errorf("look for the dead letter of event %s: %w", p.Message.EventID, err)
	}
	return found.RowsAffected() > 0, nil
}

// parkAgain parks a dead letter whose redrive was refused. If it blocks its group, it also parks
// those that would have followed.
func (s *Store) parkAgain(ctx context.Context, p delivery.DeadLetter) error {
	const parkAgain = `
		UPDATE outbox_dead_letters d SET state = 'parked', updated_at = clock_timestamp(),
			code = CASE WHEN d.position = $4 THEN $5 ELSE d.code END,
			reason = CASE WHEN d.position = $4 THEN $6 ELSE d.reason END,
			attempts = d.attempts + CASE WHEN d.position = $4 THEN $7::integer ELSE 0 END
		FROM relay_checkpoints c
		WHERE d.state = 'redriving' AND (d.position = $4 OR
				$8::boolean AND d.blocks_group AND d.outbox_table = $11 AND d.destination = $9
					AND d.message_group = $10)
			AND ` + slot.FenceSQL
	return s.exec(ctx, fmt.Sprintf("park dead letter %d again", p.Position), parkAgain,
		p.Position, p.Code, p.Reason, p.Attempts, p.BlocksGroup, p.Destination, p.Message.GroupID, s.table)
}

// Redriven implements [delivery.Parker]. The events parked behind the dead letter follow it.
func (s *Store) Redriven(ctx context.Context, position int64) error {
	const redriven = `
		WITH redriven AS (
			UPDATE outbox_dead_letters d SET state = 'redriven', updated_at = clock_timestamp()
			FROM relay_checkpoints c WHERE d.position = $4 AND ` + slot.FenceSQL + ` RETURNING d.*
		), followers AS (` + follow + `)
		SELECT FROM redriven`
	return s.exec(ctx, fmt.Sprintf("note that dead letter %d is redriven", position), redriven, position)
}

// follow redrives the events parked behind the dead letters in "redriven", once their group has no
// event left that was refused for its own sake. They were never sent, so they need no new
// deduplication id.
const follow = `
	UPDATE outbox_dead_letters d SET state = 'redriving', updated_at = clock_timestamp()
	FROM (SELECT DISTINCT outbox_table, destination, message_group FROM redriven WHERE blocks_group) AS r
	WHERE (d.outbox_table, d.destination, d.message_group) = (r.outbox_table, r.destination, r.message_group)
	  AND d.state = 'parked' AND d.code = '` + delivery.CodeBlocked + `'
	  AND NOT EXISTS (
		SELECT FROM outbox_dead_letters o
		WHERE (o.outbox_table, o.destination, o.message_group) = (r.outbox_table, r.destination, r.message_group)
		  AND o.blocks_group AND o.state = 'parked' AND o.code <> '` + delivery.CodeBlocked + `'
		  AND o.position NOT IN (SELECT position FROM redriven))
	RETURNING d.position`

// takeTurn waits until no other statement of the Store runs. A locked row then blocks one
// connection, and not all of them.
func (s *Store) takeTurn(ctx context.Context) (done func(), err error) {
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// exec runs a fenced statement.
func (s *Store) exec(ctx context.Context, what, sql string, args ...any) error {
	done, err := s.takeTurn(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer done()
	tag, err := s.pool.Exec(ctx, sql, s.fence.Args(args...)...)
	if err == nil && tag.RowsAffected() == 0 {
		err = slot.ErrFenced
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// IsBlocked implements [delivery.Parker].
func (s *Store) IsBlocked(ctx context.Context, destination, groupID string) (blocked bool, err error) {
	done, err := s.takeTurn(ctx)
	if err != nil {
		return false, fmt.Errorf("look for dead letters of group %s: %w", groupID, err)
	}
	defer done()
	err = s.pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM outbox_dead_letters
		WHERE destination = $1 AND message_group = $2 AND blocks_group AND state IN ('parked', 'redriving')
			AND outbox_table = $3)`,
		destination, groupID, s.table).Scan(&blocked)
	if err != nil {
		return false, fmt.Errorf("look for dead letters of group %s: %w", groupID, err)
	}
	return blocked, nil
}

// IsRedriving implements [delivery.Parker].
func (s *Store) IsRedriving(ctx context.Context, letter *delivery.DeadLetter) (redriving bool, err error) {
	done, err := s.takeTurn(ctx)
	if err != nil {
		return false, fmt.Errorf("look for dead letter %d: %w", letter.Position, err)
	}
	defer done()
	err = s.pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM outbox_dead_letters WHERE position = $1 AND state = 'redriving'
			AND updated_at = $2)`,
		letter.Position, letter.RedrivenAt).Scan(&redriving)
	if err != nil {
		return false, fmt.Errorf("look for dead letter %d: %w", letter.Position, err)
	}
	return redriving, nil
}

// Shorten leaves at most n bytes of the body, for an operator who wants to know why it is parked.
func (m *message) Shorten(n int) {
	whole := max(len(m.Body), len(m.BodyBytes))
	if whole <= n {
		return
	}
	m.BodyLength = whole
	m.Body = strings.ToValidUTF8(m.Body[:min(n, len(m.Body))], "")
	m.BodyBytes = m.BodyBytes[:min(n, len(m.BodyBytes))]
}

func newMessage(m *sink.Message) message {
	stored := message{
		Body: m.Body, Attributes: []attribute{}, Own: m.Own, GroupID: m.GroupID, DeduplicationID: m.DeduplicationID,
	}
	if m.TenantID != m.GroupID {
		stored.TenantID = &m.TenantID
	}
	if m.Type != typeOf(m) {
		stored.Type = &m.Type
	}
	if !utf8.ValidString(m.Body) {
		stored.Body, stored.BodyBytes = "", []byte(m.Body)
	}
	for _, a := range m.Attributes {
		kept := attribute{Name: a.Name, Type: a.DataType.String(), Value: a.Value}
		stored.Attributes = append(stored.Attributes, kept)
	}
	return stored
}

// message returns the message of the n-th redrive of a dead letter. A broker that got it before has
// its deduplication id, so each redrive has another one.
func (m message) message(eventID string, n int) sink.Message {
	message := sink.Message{
		EventID:         eventID,
		Body:            m.Body,
		Own:             m.Own,
		GroupID:         m.GroupID,
		TenantID:        m.GroupID,
		DeduplicationID: m.DeduplicationID,
	}
	if m.TenantID != nil {
		message.TenantID = *m.TenantID
	}
	if m.BodyBytes != nil {
		message.Body = string(m.BodyBytes)
	}
	if n > 0 {
		message.DeduplicationID = route.RedriveID(m.DeduplicationID, n)
	}
	for _, a := range m.Attributes {
		sent := sink.Attribute{Name: a.Name, DataType: sink.ParseDataType(a.Type), Value: a.Value}
		message.Attributes = append(message.Attributes, sent)
	}
	message.Type = typeOf(&message)
	if m.Type != nil {
		message.Type = *m.Type
	}
	return message
}

// typeOf returns the type of an event by its attributes.
func typeOf(m *sink.Message) string {
	for i := range m.Attributes {
		if a := &m.Attributes[i]; a.Name == outbox.AttributeEventType {
			return a.Value
		}
	}
	return ""
}

// redriveBytes bounds the dead letters that [Redriving] returns, without the last one. A dead
// letter may have an event of many MB.
const redriveBytes = 16 << 20

// Redriving returns the first dead letters of a destination to redrive, at most limit.
func Redriving(
	ctx context.Context,
	pool *pgxpool.Pool,
	table, destination string,
	limit int,
) ([]delivery.DeadLetter, error) {
	rows, err := pool.Query(ctx, `
		WITH first AS (
			SELECT position, blocks_group, updated_at, redrives, coalesce(row_event_id, event_id) AS event_id, event
			FROM outbox_dead_letters
			WHERE outbox_table = $1 AND destination = $2 AND state = 'redriving' ORDER BY position LIMIT $3
		), sized AS (
			SELECT *, sum(octet_length(event::text)) OVER (ORDER BY position) - octet_length(event::text) AS before
			FROM first
		)
		SELECT position, blocks_group, updated_at, redrives, event_id, event FROM sized
		WHERE before < $4 ORDER BY position`, table, destination, limit, redriveBytes)
	if err != nil {
		return nil, fmt.Errorf("read dead letters to redrive: %w", err)
	}
	letters, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (delivery.DeadLetter, error) {
		letter := delivery.DeadLetter{Destination: destination}
		var redrives int
		var eventID string
		var stored message
		err := row.Scan(&letter.Position, &letter.BlocksGroup, &letter.RedrivenAt, &redrives, &eventID, &stored)
		message := stored.message(eventID, redrives)
		letter.Message = &message
		return letter, err
	})
	if err != nil {
		return nil, fmt.Errorf("read dead letters to redrive: %w", err)
	}
	return letters, nil
}

// Blocked returns the message groups that a parked event blocks, for each destination, with the id
// of the first such event.
func Blocked(ctx context.Context, pool *pgxpool.Pool, table string) (map[string]map[string]string, error) {
	rows, err := pool.Query(ctx, `
		SELECT DISTINCT ON (destination, message_group) destination, message_group, coalesce(row_event_id, event_id)
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
