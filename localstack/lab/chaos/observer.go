package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// recordCommitted records each row of the outbox table in the same transaction, because relays may
// remove rows from the table. Emitted events have an order of their own: no aggregate has both.
func (s *shape) recordCommitted() string {
	return s.sql(`
	CREATE SEQUENCE commit_order;
	CREATE TABLE selected (replay bigint, event_id text, waiting text[]);
	CREATE SEQUENCE emitted_order;
	CREATE TABLE committed (id text, seq bigint, payload text, emitted boolean NOT NULL DEFAULT false);
	CREATE FUNCTION record_committed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO committed VALUES ({new_id}, ` + s.order() + `, new.{payload}::text);
		RETURN NULL;
	END $$`)
}

// recordInserts is needed for each table that replaces the outbox table.
const recordInserts = `CREATE TRIGGER record AFTER
	INSERT ON %s FOR EACH ROW EXECUTE FUNCTION record_committed()`

// recordChanges records each change of a dead letter in the same transaction, because relays may
// remove dead letters too.
const recordChanges = `
	CREATE TABLE changes (n bigint GENERATED ALWAYS AS IDENTITY, at timestamptz DEFAULT clock_timestamp(),
	position bigint, event_id text,
		destination text, blocks boolean, event json, state text, code text, redrives integer);
	CREATE FUNCTION record_change() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS $$ BEGIN
		IF TG_OP = 'INSERT' OR new.state <> old.state THEN
			INSERT INTO changes (position, event_id, destination, blocks, event, state, code, redrives) VALUES
				(new.position,
				split_part(new.event->>'message_deduplication_id', '#', 1), new.destination, new.blocks_group,
				new.event, new.state, new.code, new.redrives);
		END IF;
		RETURN NULL;
	END $$;
	CREATE TRIGGER record AFTER INSERT OR UPDATE ON outbox_dead_letters FOR EACH ROW EXECUTE FUNCTION record_change()`

// recordSelected records the events that a replay selects when it is requested, and the
// destinations for which each of them waits at that moment. The replay selects the events that are
// visible in its horizon, and those whose dead letter is closed. The request sees the deferrals of
// its beginning, and the trigger those of a moment later: where one changed in between, its events
// may have waited.
func (s *shape) recordSelected() string {
	return s.sql(`
	CREATE FUNCTION record_selected() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO selected SELECT new.id, e.{id}::text, ARRAY(SELECT d.destination FROM outbox_deferrals d
			WHERE (d.aggregate_id = '' OR ` + s.isOfAggregate("d", "e") + `)
				AND (d.state = 'deferred' AND NOT (` + s.isDone("d", "e") + `)
					OR d.updated_at > statement_timestamp())) FROM {table} e
		WHERE (pg_visible_in_snapshot(e.{xid}, new.horizon)
				OR e.{seq} > new.passed_seq AND e.{seq} <= new.last_seq AND EXISTS (
					SELECT FROM outbox_dead_letters d WHERE d.slot_name = new.slot_name
						AND d.row_event_id = e.{id}::text AND d.state IN ('discarded', 'redriven')))
			AND (new.seqs IS NULL OR e.{seq} = ANY (new.seqs)) AND (new.since IS NULL OR e.{created} >= new.since)
			AND (new.until IS NULL OR e.{created} < new.until)
			AND (new.aggregate_type IS NULL OR (e.{kind}, e.{aggregate}) = (new.aggregate_type,
			new.aggregate_id));
		RETURN NULL;
	END $$;
	CREATE TRIGGER record AFTER INSERT ON outbox_replays FOR EACH ROW EXECUTE FUNCTION record_selected()`)
}

// lastChanges selects the last state of each dead letter, also of removed ones.
const lastChanges = `SELECT DISTINCT ON (position) event_id, state FROM changes ORDER BY position, n DESC`

// change is a row of the table changes.
type change struct {
	At          time.Time
	Position    int64
	EventID     string
	Destination string
	Blocks      bool
	Event       struct{ Body string }
	State, Code string
	Redrives    int
}

// deadLetters returns all dead letters with their changes.
func (r *run) deadLetters(ctx context.Context) ([]checker.DeadLetter, error) {
	rows, err := r.admin.Query(ctx, `SELECT at, position, event_id, destination, blocks, event, state, code, redrives
		FROM changes ORDER BY position, n`)
	if err != nil {
		return nil, fmt.Errorf("read the changes of dead letters: %w", err)
	}
	began := time.Now().Add(-r.clock())
	var letters []checker.DeadLetter
	last := int64(0)
	var c change
	var event []byte
	_, err = pgx.ForEachRow(rows, []any{
		&c.At, &c.Position, &c.EventID, &c.Destination, &c.Blocks, &event, &c.State,
		&c.Code, &c.Redrives,
	}, func() error {
		if err := json.Unmarshal(event, &c.Event); err != nil {
			return fmt.Errorf("dead letter %d: %w", c.Position, err)
		}
		if c.Position != last {
			letters = append(letters, checker.DeadLetter{
				EventID: c.EventID, Destination: c.Destination,
				Body: c.Event.Body, Blocks: c.Blocks,
			})
		}
		last = c.Position
		d := &letters[len(letters)-1]
		d.Changes = append(d.Changes, checker.Change{
			At: c.At.Sub(began), State: c.State, Code: c.Code,
			Redrives: c.Redrives,
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the changes of dead letters: %w", err)
	}
	return letters, nil
}

// replays returns all requested replays with their progress.
func (r *run) replays(ctx context.Context) ([]checker.Replay, error) {
	rows, err := r.admin.Query(ctx, `
		SELECT id::text, requested_at, ARRAY(SELECT event_id FROM selected WHERE replay = r.id),
			(SELECT coalesce(jsonb_object_agg(event_id, waiting), '{}') FROM selected
				WHERE replay = r.id AND waiting <> '{}'), sent, state
		FROM outbox_replays r ORDER BY r.id`)
	if err != nil {
		return nil, fmt.Errorf("read replays: %w", err)
	}
	began := time.Now().Add(-r.clock())
	var replays []checker.Replay
	var one checker.Replay
	var at time.Time
	columns := []any{&one.ID, &at, &one.Selected, &one.Waiting, &one.Sent, &one.State}
	_, err = pgx.ForEachRow(rows, columns, func() error {
		one.At = at.Sub(began)
		replays = append(replays, one)
		one.Selected, one.Waiting = nil, nil
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read replays: %w", err)
	}
	return replays, nil
}
