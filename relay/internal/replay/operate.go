package replay

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/deferral"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// Operator requests replays of the events of one outbox table, and observes them.
type Operator struct {
	pool  *pgxpool.Pool
	slot  string
	table outboxtable.Table
}

// NewOperator returns an Operator of the relays that share a slot.
func NewOperator(pool *pgxpool.Pool, slot string, table outboxtable.Table) *Operator {
	return &Operator{pool: pool, slot: slot, table: table}
}

// FindIDs returns the seqs of the events with these ids, and the ids without a row in the table.
func (o *Operator) FindIDs(ctx context.Context, ids []string) (seqs []int64, missing []string, err error) {
	var idType string
	err = o.pool.QueryRow(
		ctx,
		`SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2`,
		o.table.Identifier(),
		o.table.Columns.ID,
	).Scan(&idType)
	if err != nil {
		return nil, nil, fmt.Errorf("look up column %s of %s: %w", o.table.Columns.ID, o.table.Identifier(), err)
	}
	rows, err := o.pool.Query(ctx, statement(o.table, `
		SELECT wanted, e.{seq}
		FROM pg_catalog.unnest($1::text[]) AS wanted LEFT JOIN {table} e ON e.{id} = wanted::`+idType), ids)
	if err != nil {
		return nil, nil, fmt.Errorf("look up events by id: %w", err)
	}
	seqs = []int64{} // not nil, which would select all
	var id string
	var seq *int64
	_, err = pgx.ForEachRow(rows, []any{&id, &seq}, func() error {
		if seq == nil {
			missing = append(missing, id)
		} else {
			seqs = append(seqs, *seq)
		}
		return nil
	})
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && pgerrcode.IsDataException(refused.Code):
		return nil, nil, fmt.Errorf("--event-id names no id of table %s: its column %s (RELAY_COLUMN_ID) is %s, and "+
			"Postgres says: %s", o.table, o.table.Columns.ID, idType, refused.Message)
	case err != nil:
		return nil, nil, fmt.Errorf("look up events by id: %w", err)
	}
	return seqs, missing, nil
}

// Kind counts selected events of one type.
type Kind struct {
	EventType, AggregateType string
	Events                   int64
}

// Plan has the events that a replay of a Selection would send.
type Plan struct {
	Selection         Selection
	Horizon           string
	Events            int64
	Kinds             []Kind // the most frequent first
	First, Last       string // the lowest and highest creation time, as text; empty if the table has none
	FirstSeq, LastSeq int64
	Undelivered       int64 // excluded: the relay delivers them anyway
	Parked            int64 // excluded: dead letters
}

// Plan computes which events a replay would send: those that are visible in horizon, and those
// whose dead letter is closed.
func (o *Operator) Plan(ctx context.Context, s Selection, horizon string) (Plan, error) {
	if s.Since != nil || s.Until != nil {
		if err := outboxtable.RequireTimeZone(ctx, o.pool, o.table, "--since and --until"); err != nil {
			return Plan{}, err
		}
	}
	p := Plan{Selection: s, Horizon: horizon}
	rows, err := o.pool.Query(ctx, statement(o.table, `
		SELECT pg_catalog.replace({fate}, 'closed', 'delivered') AS fate,
			{event_type}, {aggregate_type}, count(*), pg_catalog.min(e.{seq}), pg_catalog.max(e.{seq}),
			coalesce(pg_catalog.min({created_at})::text, ''), coalesce(pg_catalog.max({created_at})::text, '')
		FROM {table} e WHERE {selected} AND {filter} GROUP BY 1, 2, 3
			ORDER BY 4 DESC, 2, 3`), append(s.args(), o.table.Key(), horizon, o.slot)...)
	if err != nil {
		return Plan{}, fmt.Errorf("look at %s: %w", o.name(), err)
	}
	var fate, first, last string
	var k Kind
	var firstSeq, lastSeq int64
	_, err = pgx.ForEachRow(
		rows,
		[]any{&fate, &k.EventType, &k.AggregateType, &k.Events, &firstSeq, &lastSeq, &first, &last},
		func() error {
			switch fate {
			case "undelivered":
				p.Undelivered += k.Events
			case "parked":
				p.Parked += k.Events
			default:
				if p.Events == 0 {
					p.First, p.Last, p.FirstSeq, p.LastSeq = first, last, firstSeq, lastSeq
				}
				p.First, p.Last = min(p.First, first), max(p.Last, last)
				p.FirstSeq, p.LastSeq = min(p.FirstSeq, firstSeq), max(p.LastSeq, lastSeq)
				p.Events += k.Events
				p.Kinds = append(p.Kinds, k)
			}
			return nil
		},
	)
	if err != nil {
		return Plan{}, fmt.Errorf("look at %s: %w", o.name(), err)
	}
	if p.FirstSeq == math.MinInt64 {
		return Plan{}, o.table.CheckSeq(p.FirstSeq)
	}
	return p, nil
}

// RunningError means that another replay of the slot is running.
type RunningError struct{ Replay *Replay }

func (e *RunningError) Error() string {
	return fmt.Sprintf(
		"replay %d is under way, %d of its %d events are sent: relay replay --resume %[1]d watches it, "+
			"relay replay --stop %[1]d stops it", e.Replay.ID, e.Replay.Sent, e.Replay.Events)
}

// Begin asks the relay that holds the slot to send the events of p, at this many events a second.
// It returns a [*RunningError] while another replay is running.
func (o *Operator) Begin(ctx context.Context, p Plan, rate int) (*Replay, error) {
	r, err := scan(o.pool.QueryRow(ctx, `
		INSERT INTO outbox_replays AS r (seqs, since, until, aggregate_type, aggregate_id, slot_name,
			outbox_table, horizon,
			last_seq, passed_seq, events, rate, deferrals)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8::pg_snapshot, $9, $10, $11, $12, `+deferral.MarksSQL("$6", "$13")+`)
		RETURNING `+columns,
		append(p.Selection.args(), o.slot, o.name(), p.Horizon, p.LastSeq, p.FirstSeq-1, p.Events, rate,
			o.table.Key())...))
	return r, o.explain(ctx, "begin the replay", err)
}

// Resume continues a replay that was stopped, at this rate if it is not zero. A finished one stays
// finished.
func (o *Operator) Resume(ctx context.Context, id int64, rate int) (*Replay, error) {
	_, err := o.pool.Exec(ctx, `
		UPDATE outbox_replays SET state = 'running', rate = coalesce(nullif($3::integer, 0), rate),
			updated_at = clock_timestamp()
		WHERE slot_name = $1 AND id = $2 AND state <> 'done'`, o.slot, id, rate)
	if err != nil {
		return nil, o.explain(ctx, fmt.Sprintf("resume replay %d", id), err)
	}
	return o.Look(ctx, id)
}

// Stop stops a running replay and returns its state. Events in flight still arrive.
func (o *Operator) Stop(ctx context.Context, id int64) (*Replay, error) {
	_, err := o.pool.Exec(ctx, `
		UPDATE outbox_replays SET state = 'stopped', updated_at = clock_timestamp()
		WHERE slot_name = $1 AND id = $2 AND state = 'running'`, o.slot, id)
	if err != nil {
		return nil, fmt.Errorf("stop replay %d: %w", id, err)
	}
	return o.Look(ctx, id)
}

// Look returns the state of a replay.
func (o *Operator) Look(ctx context.Context, id int64) (*Replay, error) {
	r, err := scan(
		o.pool.QueryRow(
			ctx,
			`SELECT `+columns+` FROM outbox_replays r WHERE r.slot_name = $1 AND r.id = $2`,
			o.slot,
			id,
		),
	)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("slot %s has no replay %d: relay status shows the last one", o.slot, id)
	}
	if err != nil {
		return nil, fmt.Errorf("look at replay %d: %w", id, err)
	}
	return r, nil
}

// Latest returns the newest replay of a slot, or nil.
func Latest(ctx context.Context, pool *pgxpool.Pool, slot string) (*Replay, error) {
	r, err := scan(pool.QueryRow(ctx, `SELECT `+columns+` FROM outbox_replays r WHERE r.slot_name = $1
		ORDER BY r.state = 'running' DESC, r.id DESC LIMIT 1`, slot))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for replays: %w", err)
	}
	return r, nil
}

// explain names the running replay if that is the reason.
func (o *Operator) explain(ctx context.Context, what string, err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.ConstraintName == "outbox_replays_running_key" {
		running, lookErr := Latest(ctx, o.pool, o.slot)
		if lookErr == nil && running != nil && running.State == Running {
			return &RunningError{Replay: running}
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (o *Operator) name() string { return o.table.String() }
