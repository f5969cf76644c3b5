package history

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/deferral"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// shownEvents is the number of last events in an answer.
const shownEvents = 20

// Facts that cannot be known.
const (
	noMemory = "the broker's message id, and when the relay read and sent an event: " +
		"only the memory of the relay has that, and shows it at RELAY_LISTEN"
	shortMemory = "the broker's message id of events that another relay sent, and of all but the last 512 of this " +
		"relay: each relay remembers only 512, and under load one of each request"
	noReading = "whether the relay has already read a waiting event: it keeps no list of them"
)

// Finder finds the history of an event.
type Finder struct {
	Slot   string
	Table  outboxtable.Table
	Recent *Recent // nil outside of a relay
}

// unknown returns the facts that no answer contains.
func (f *Finder) unknown() []string {
	if f.Recent == nil {
		return []string{noMemory, noReading}
	}
	return []string{shortMemory, noReading}
}

// Find returns the history of the event with this id.
func (f *Finder) Find(ctx context.Context, pool *pgxpool.Pool, id string) (*One, error) {
	found := &One{
		Version: formatVersion,
		At:      time.Now().UTC(),
		Unknown: f.unknown(),
	}
	f, err := f.looked(ctx, pool)
	if err != nil {
		return nil, err
	}
	if f.Table.IsSeveral() {
		return f.findAmong(ctx, pool, id)
	}
	row, existing, err := f.base(ctx, pool)
	if err != nil {
		return nil, err
	}
	if err := f.findRow(ctx, pool, id, existing[f.Table.Columns.ID], snapshot(row), found); err != nil {
		return nil, err
	}
	if err := f.complete(ctx, pool, []*Event{&found.Event}); err != nil {
		return nil, err
	}
	found.Found = found.Found || len(found.Acceptances) > 0 || len(found.DeadLetters) > 0
	return found, nil
}

// findRow adds to found the event's row, if the column of the ids has an index.
func (f *Finder) findRow(
	ctx context.Context, pool *pgxpool.Pool, id string, ids column, delivered *string, found *One,
) error {
	streamed := id
	if ids.kind != "" {
		var err error
		if streamed, err = streamedID(ctx, pool, ids, id); err != nil {
			return err
		}
	}
	found.Event = Event{ID: streamed, State: Unknown}
	if !ids.indexed {
		found.Reason = "the table was not searched"
		found.Unknown = append(found.Unknown,
			"the event's row: the table has no index on its column "+f.Table.Columns.ID)
		return nil
	}
	rows, err := pool.Query(ctx, query(f.Table, "AND {id} = ($2::text)::"+ids.kind+" LIMIT 1"), delivered, id)
	if err == nil {
		found.Event, err = pgx.CollectExactlyOneRow(rows, scan)
	}
	switch {
	case err == nil:
		found.Found = true
	case isNoID(err):
		found.Event = Event{
			ID: streamed, State: Unknown,
			Reason: "the table has no such event: " + f.whyMissing(),
		}
	default:
		return fmt.Errorf("look for event %s in %s: %w", id, f.Table, err)
	}
	return nil
}

// Last returns the last events of the table.
func (f *Finder) Last(ctx context.Context, pool *pgxpool.Pool) (*Last, error) {
	last := &Last{Version: formatVersion, At: time.Now().UTC(), Events: []Event{}, Unknown: f.unknown()}
	f, err := f.looked(ctx, pool)
	if err != nil {
		return nil, err
	}
	if f.Table.IsSeveral() {
		last.Unknown = append(last.Unknown, "the last events, and how many wait: RELAY_TABLE names several tables. "+
			"An event is found by its id")
		return last, nil
	}
	row, existing, err := f.base(ctx, pool)
	if err != nil {
		return nil, err
	}
	if existing[f.Table.Columns.Sequence].indexed {
		rows, err := pool.Query(ctx, query(f.Table, "ORDER BY {seq} DESC LIMIT $2"), snapshot(row), shownEvents)
		if err == nil {
			last.Events, err = pgx.CollectRows(rows, scan)
		}
		if err != nil {
			return nil, fmt.Errorf("read the last events of %s: %w", f.Table, err)
		}
	} else {
		last.Unknown = append(last.Unknown,
			"the last events of the table: no index orders them (RELAY_COLUMN_SEQUENCE)")
	}
	if existing[f.Table.Columns.XID].indexed && delivered(row) != "" {
		if last.Waiting, err = backlog(ctx, pool, f.Table, delivered(row)); err != nil {
			return nil, err
		}
	} else {
		last.Unknown = append(last.Unknown,
			"how many events wait: there is no checkpoint, or no index on the transaction ids (RELAY_COLUMN_XID)")
	}
	var shown []*Event
	for i := range last.Events {
		shown = append(shown, &last.Events[i])
	}
	return last, f.complete(ctx, pool, shown)
}

// looked returns f with the row filter of the publication, where the operator accepts one.
func (f *Finder) looked(ctx context.Context, pool *pgxpool.Pool) (*Finder, error) {
	if f.Table.FilteredBy == "" && !f.Table.IsSeveral() {
		return f, nil
	}
	table, err := members.Look(ctx, pool, f.Table)
	return &Finder{Slot: f.Slot, Table: table, Recent: f.Recent}, err
}

// findAmong returns the history of the event with this id in the first of the tables that has it.
func (f *Finder) findAmong(ctx context.Context, pool *pgxpool.Pool, id string) (found *One, err error) {
	for _, table := range f.Table.Each() {
		one := &Finder{Slot: f.Slot, Table: table, Recent: f.Recent}
		if found, err = one.Find(ctx, pool, id); err != nil || found.Sequence != nil {
			return found, err
		}
	}
	if found == nil {
		found = &One{Version: formatVersion, At: time.Now().UTC(), Unknown: f.unknown()}
		found.Event = Event{ID: id, State: Unknown, Reason: "the publication has no table of the relay"}
	}
	return found, nil
}

func (f *Finder) whyMissing() string {
	reason := "it was never committed, or its row was removed after delivery"
	if f.Table.Filter != "" {
		reason += ", or the row filter of the publication excludes it"
	}
	return reason
}

// base reads the checkpoint row and the columns of the table.
func (f *Finder) base(ctx context.Context, pool *pgxpool.Pool) (*checkpoint.Row, columns, error) {
	row, err := checkpoint.NewStore(pool, f.Slot).Load(ctx)
	if err != nil {
		return nil, nil, err
	}
	existing, err := readColumns(ctx, pool, f.Table)
	return row, existing, err
}

// snapshot returns the first argument of query.
func snapshot(row *checkpoint.Row) *string {
	if text := delivered(row); text != "" {
		return &text
	}
	return nil
}

// complete adds the events' dead letters, and their acceptances in the relay's memory.
func (f *Finder) complete(ctx context.Context, pool *pgxpool.Pool, all []*Event) error {
	ids, groups := []string{}, []string{}
	for _, e := range all {
		ids, groups = append(ids, e.ID), append(groups, e.group(f.Table))
	}
	letters, err := f.deadLetters(ctx, pool, ids)
	if err != nil {
		return err
	}
	blocked, err := f.blocked(ctx, pool, groups)
	if err != nil {
		return err
	}
	if err := f.deferred(ctx, pool, all); err != nil {
		return err
	}
	for i, e := range all {
		e.DeadLetters = letters[e.ID]
		if f.Recent != nil {
			e.Acceptances = f.Recent.find(e.ID)
		}
		e.judge(blocked[groups[i]])
	}
	return nil
}

// deferred corrects the state of events that the checkpoint counts as delivered, because they wait
// in the table for a destination that is unavailable.
func (f *Finder) deferred(ctx context.Context, pool *pgxpool.Pool, all []*Event) error {
	bySeq := map[int64]*Event{}
	for _, e := range all {
		if e.Sequence != nil && e.State == Done {
			bySeq[*e.Sequence] = e
		}
	}
	waits, err := deferral.Find(ctx, pool, f.Slot, f.Table, slices.Collect(maps.Keys(bySeq)))
	for _, w := range waits {
		e := bySeq[w.Sequence]
		e.State, e.Reason = Waiting, fmt.Sprintf("it waits for %s: %s", w.Destination, w.Reason)
	}
	return err
}

// judge sets the most precise known state. blocker is the dead letter that blocks the group of the
// event, or 0.
func (e *Event) judge(blocker int64) {
	open := slices.IndexFunc(e.DeadLetters,
		func(d DeadLetter) bool { return d.State == "parked" || d.State == "redriving" })
	switch {
	case open >= 0:
		d := e.DeadLetters[open]
		e.State, e.Reason = Parked, fmt.Sprintf("dead letter %d is %s: %s: %s", d.Position, d.State, d.Code, d.Reason)
	case len(e.Acceptances) > 0:
		e.State, e.Reason = Accepted, ""
	case e.State == Waiting && blocker != 0:
		e.Reason = fmt.Sprintf("dead letter %d blocks its aggregate: redrive or discard that first", blocker)
	}
}

// tableName returns the table's name in the checkpoint and in the dead letters.
func (f *Finder) tableName() string { return f.Table.Key() }
