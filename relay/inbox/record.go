package inbox

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgerrcode"
)

// insertEvent affects one row if the event is new. A concurrent insert of the same id waits for the
// end of this transaction. The casts give each parameter its type for every driver.
const insertEvent = `
	INSERT INTO inbox_events (consumer, event_id) VALUES ($1::text, $2::text)
	ON CONFLICT (consumer, event_id) DO NOTHING`

// insertNewest affects one row if the event is new and not stale. It locks the row of the aggregate
// also where it does not update it.
const insertNewest = `
	WITH event AS (` + insertEvent + ` RETURNING consumer, event_id)
	INSERT INTO inbox_aggregates AS newest (consumer, aggregate_type, aggregate_id, sequence, event_id)
	SELECT consumer, $3::text, $4::text, $5::text::bigint, event_id FROM event
	ON CONFLICT (consumer, aggregate_type, aggregate_id) DO UPDATE
	SET sequence = excluded.sequence, event_id = excluded.event_id, updated_at = clock_timestamp()
	WHERE newest.sequence < excluded.sequence`

// record is the statement that records one event.
type record struct {
	consumer, eventID string
	statement         string
	arguments         []any
}

func newRecord(consumer string, event Event, options []Option) (record, error) {
	var wanted rule
	for _, option := range options {
		option(&wanted)
	}
	r := record{
		consumer: consumer, eventID: event.ID,
		statement: insertEvent, arguments: []any{consumer, event.ID},
	}
	switch {
	case consumer == "":
		return record{}, fmt.Errorf("record event %s: the consumer has no name: pass one that no other consumer of "+
			"this database has", event.ID)
	case event.ID == "":
		return record{}, fmt.Errorf("record an event of type %q for consumer %s: it has no id: pass what Decode "+
			"returned", event.Type, consumer)
	case !wanted.skipStale || event.AggregateID == "":
		return r, nil
	case event.Sequence == nil:
		return record{}, fmt.Errorf("record event %s for consumer %s: it has no sequence, which SkipStale compares: "+
			"set RELAY_COLUMN_SEQUENCE of the relay, or omit SkipStale. An event without a row (RELAY_EMITTED) never "+
			"has one", event.ID, consumer)
	}
	r.statement = insertNewest
	r.arguments = append(r.arguments, event.AggregateType, event.AggregateID, strconv.FormatInt(*event.Sequence, 10))
	return r, nil
}

// explain returns the error of the statement, with the way out where there is one.
func (r record) explain(err error) error {
	return fmt.Errorf("record event %s for consumer %s: %w", r.eventID, r.consumer, explain(err))
}

// explain says which migration creates the tables if they do not exist.
func explain(err error) error {
	var refused interface{ SQLState() string } // of pgx and of lib/pq
	if errors.As(err, &refused) && refused.SQLState() == pgerrcode.UndefinedTable {
		return fmt.Errorf("the tables of the inbox do not exist in the search_path: call Migrate of "+
			"relay/inbox/migrations, or run its 001_inbox.sql, in the database of the consumer: %w", err)
	}
	return err
}
