package deferral

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// blockedGroups returns which message groups a dead letter of the slot blocks, by their places in
// the arrays, from 1 on.
var blockedGroups = `
	SELECT g.place FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS g (destination, message_group, place)
	WHERE EXISTS (
		SELECT FROM outbox_dead_letters d
		WHERE d.destination = g.destination AND d.message_group = g.message_group AND d.outbox_table = $1
			AND d.blocks_group AND d.state IN ('parked', 'redriving')
			AND ` + outboxtable.OwnDeadLetterSQL("d", "$4") + `)`

// areBlocked returns which of these message groups a dead letter blocks.
func (s *Store) areBlocked(ctx context.Context, groups []key) (map[key]bool, error) {
	ctx, done, err := s.takeTurn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	destinations, names := make([]string, len(groups)), make([]string, len(groups))
	for i, k := range groups {
		destinations[i], names[i] = k.destination, k.group
	}
	rows, err := s.pool.Query(ctx, blockedGroups, s.table, destinations, names, s.fence.Slot)
	if err != nil {
		return nil, fmt.Errorf("look for the dead letters of %d message groups: %w", len(groups), err)
	}
	blocked := map[key]bool{}
	var place int
	_, err = pgx.ForEachRow(rows, []any{&place}, func() error {
		blocked[groups[place-1]] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for the dead letters of %d message groups: %w", len(groups), err)
	}
	return blocked, nil
}

// deadLettersOf returns the keys of those rows that have a dead letter in any state. Such a row is
// not sent, although a deferral may count it as not done: its dead letter is stored first.
const deadLettersOf = `
	SELECT d.row_key FROM outbox_dead_letters d
	WHERE d.outbox_table = $1 AND d.slot_name = $2 AND d.destination = $3 AND d.row_key = ANY ($4)
		AND d.row_key IS NOT NULL`

// withoutDeadLetters returns those rows of a page that have no dead letter for a destination.
func (s *Store) withoutDeadLetters(
	ctx context.Context, destination string, page []outbox.Envelope,
) ([]outbox.Envelope, error) {
	ctx, done, err := s.takeTurn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	keys := make([]string, len(page))
	for i := range page {
		row := delivery.Row{Sequence: page[i].Sequence, XID: page[i].XID, Source: page[i].Source}
		keys[i] = row.Key(route.EventID(&page[i]))
	}
	rows, err := s.pool.Query(ctx, deadLettersOf, s.table, s.fence.Slot, destination, keys)
	if err != nil {
		return nil, fmt.Errorf("look for the dead letters of %d rows: %w", len(page), err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for the dead letters of %d rows: %w", len(page), err)
	}
	if len(found) == 0 {
		return page, nil
	}
	parked := map[string]bool{}
	for _, k := range found {
		parked[k] = true
	}
	var rest []outbox.Envelope
	for i := range page {
		if !parked[keys[i]] {
			rest = append(rest, page[i])
		}
	}
	return rest, nil
}

// explain stores why the events of these places wait.
func (s *Store) explain(ctx context.Context, places []Place, reason string) error {
	ctx, done, err := s.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer done()
	destinations, types, ids := split(places)
	_, err = s.pool.Exec(ctx, `
		WITH `+holder+`
		UPDATE outbox_deferrals d SET reason = $8, updated_at = clock_timestamp()
		FROM holder c
		WHERE d.slot_name = c.slot_name AND d.outbox_table = $4 AND d.state = 'deferred'
		  AND (d.destination, d.aggregate_type, d.aggregate_id) IN (
			SELECT * FROM unnest($5::text[], $6::text[], $7::text[]))`,
		s.fence.Args(s.table, destinations, types, ids, reason)...)
	if err != nil {
		return fmt.Errorf("store why the events of %d aggregates wait: %w", len(places), err)
	}
	return nil
}

// split returns the columns of places.
func split(places []Place) (destinations, types, ids []string) {
	for _, p := range places {
		destinations = append(destinations, p.Destination)
		types, ids = append(types, p.storedType()), append(ids, p.AggregateID)
	}
	return destinations, types, ids
}
