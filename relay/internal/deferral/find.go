package deferral

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Wait is a row of the outbox table that waits for a destination.
type Wait struct {
	Sequence    int64
	Destination string
	Reason      string
}

// Find returns which of the rows with these seqs wait for a destination of the slot.
func Find(
	ctx context.Context, pool *pgxpool.Pool, slotName string, table pgoutput.Table, seqs []int64,
) ([]Wait, error) {
	c := table.Columns
	if c.XID == "" || c.Sequence == "" || len(seqs) == 0 {
		return nil, nil
	}
	rows, err := pool.Query(ctx, fmt.Sprintf(`
		SELECT e.%[1]s, %[2]s, %[3]s, d.destination, d.reason, d.routes
		FROM %[4]s e JOIN outbox_deferrals d ON d.slot_name = $1 AND d.outbox_table = $2 AND d.state = 'deferred'
		WHERE e.%[1]s = ANY ($3) AND %[5]s`, pgoutput.Quote(c.Sequence), outboxtable.TextSQL("e.", c.EventType),
		outboxtable.TextSQL("e.", c.AggregateType), table.From(), NotDoneSQL(table, "e.", "d.")),
		slotName, table.String(), seqs)
	if err != nil {
		return nil, fmt.Errorf("look for events that wait for a destination: %w", err)
	}
	var found []Wait
	var w Wait
	var e outbox.Envelope
	var texts []string
	routes := map[string][]*route.Router{} // by destination
	columns := []any{&w.Sequence, &e.EventType, &e.AggregateType, &w.Destination, &w.Reason, &texts}
	_, err = pgx.ForEachRow(rows, columns, func() (err error) {
		if routes[w.Destination] == nil {
			if routes[w.Destination], err = parseRoutes(texts, ""); err != nil {
				return err
			}
		}
		if anyLeads(routes[w.Destination], w.Destination, &e) {
			found = append(found, w)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for events that wait for a destination: %w", err)
	}
	return found, nil
}
