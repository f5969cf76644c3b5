package deferral

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Wait is a row of the outbox table that waits for a destination.
type Wait struct {
	Sequence    int64
	Destination string
	Reason      string
}

// findSQL returns the rows with some seqs and the deferrals for which they are not done, with the
// values of columns that the settings of this program may not name.
const findSQL = `
	SELECT e.{seq}, {event_type}, {aggregate_type}, {aggregate_id},
		ARRAY(SELECT coalesce(pg_catalog.to_jsonb(e) ->> named, '')
			FROM pg_catalog.unnest($4::text[]) WITH ORDINALITY AS n (named, place) ORDER BY place),
		d.destination, d.reason, d.routes
	FROM {table} e JOIN outbox_deferrals d ON d.slot_name = $1 AND d.outbox_table = $2 AND d.state = 'deferred'
	WHERE e.{seq} = ANY ($3::bigint[]) AND {not_done} AND {filter} AND (d.aggregate_id = '' OR {is_aggregate})`

// Find returns which of the rows with these seqs wait for a destination of the slot.
func Find(
	ctx context.Context, pool *pgxpool.Pool, slotName string, table outboxtable.Table, seqs []int64,
) ([]Wait, error) {
	c, text := table.Columns, outboxtable.Texts(table, "e.")
	if !table.IsRepairable() || len(seqs) == 0 {
		return nil, nil
	}
	routes, err := storedRoutes(ctx, pool, slotName, table)
	if err != nil || len(routes.routers) == 0 {
		return nil, err
	}
	query := strings.NewReplacer("{table}", table.From(), "{seq}", outboxtable.Quote(c.Sequence),
		"{event_type}", text.EventType, "{aggregate_type}", text.AggregateType, "{aggregate_id}", text.AggregateID,
		"{is_aggregate}", isAggregateSQL(table, "e.", "d."),
		"{not_done}", NotDoneSQL(table, "e.", "d."), "{filter}", table.FilterSQL("e")).Replace(findSQL)
	rows, err := pool.Query(ctx, query, slotName, table.Key(), seqs, routes.columns)
	if err != nil {
		return nil, fmt.Errorf("look for events that wait for a destination: %w", err)
	}
	var found []Wait
	var w Wait
	var e outbox.Envelope
	var values, texts []string
	columns := []any{
		&w.Sequence, &e.EventType, &e.AggregateType, &e.AggregateID, &values, &w.Destination, &w.Reason, &texts,
	}
	_, err = pgx.ForEachRow(rows, columns, func() error {
		if routes.lead(texts, w.Destination, e, values) {
			found = append(found, w)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for events that wait for a destination: %w", err)
	}
	return found, nil
}

// routesByText are the routes of stored deferrals.
type routesByText struct {
	routers map[string]*route.Router
	columns []string       // that their patterns read
	place   map[string]int // in columns, of the column of each text
}

// storedRoutes reads the routes of the slot's deferrals.
func storedRoutes(
	ctx context.Context, pool *pgxpool.Pool, slotName string, table outboxtable.Table,
) (s routesByText, err error) {
	s = routesByText{routers: map[string]*route.Router{}, columns: []string{}, place: map[string]int{}}
	rows, err := pool.Query(ctx, `
		SELECT DISTINCT pg_catalog.unnest(routes) FROM outbox_deferrals
		WHERE slot_name = $1 AND outbox_table = $2 AND state = 'deferred'`, slotName, table.Key())
	if err != nil {
		return s, fmt.Errorf("read the routes of the deferrals of slot %s: %w", slotName, err)
	}
	var text string
	_, err = pgx.ForEachRow(rows, []any{&text}, func() error {
		r, err := route.ParseText(text)
		if err != nil {
			return fmt.Errorf("read the routes %q: %w", text, err)
		}
		s.routers[text] = r
		if names := r.ColumnNames(); len(names) > 0 {
			s.place[text] = len(s.columns)
			s.columns = append(s.columns, names[0])
		}
		return nil
	})
	if err != nil {
		return s, fmt.Errorf("read the routes of the deferrals of slot %s: %w", slotName, err)
	}
	return s, nil
}

// lead reports whether any of the routes with these texts leads e to a destination. values are
// those of s.columns.
func (s routesByText) lead(texts []string, destination string, e outbox.Envelope, values []string) bool {
	for _, text := range texts {
		r := s.routers[text]
		if r == nil { // stored meanwhile
			continue
		}
		if place, reads := s.place[text]; reads {
			e.Route = values[place]
		}
		if leads(r, destination, &e) {
			return true
		}
	}
	return false
}
