package recovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/deferral"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// countTimeout bounds how long rows are counted. An operator only needs to know the order of
// magnitude.
const countTimeout = 10 * time.Second

// Operator shows an operator the state of a slot and its table, and requests a recovery from the
// slot's relay.
type Operator struct {
	Pool        *pgxpool.Pool
	Slot        string
	Publication slot.Publication
	Table       outboxtable.Table
}

// Request says where a recovery begins. The zero Request begins at the horizon of this cluster's
// checkpoint.
type Request struct {
	TrustHorizon bool      // the horizon is another cluster's, whose transaction ids this cluster has kept
	Since        time.Time // rows created earlier count as delivered, whatever a horizon says
	// AcceptLoss publishes no row of a table that does not show which events are missing.
	AcceptLoss bool
}

// Situation is the state before a recovery.
type Situation struct {
	System   string          // identifier of this cluster
	Row      *checkpoint.Row // nil if there is none
	Slot     slot.State
	Gap      string // why the slot may not bring every event; empty if it does
	Imported bool   // the table has rows with transaction ids that this cluster has not assigned yet
	nextXID  string // xid8: every transaction that has ended has a lower id
}

// Plan is the set of rows that a recovery would publish.
type Plan struct {
	checkpoint.Recovery           // without To, which follows from the new slot
	Rows                int64     // rows that may be published again
	Oldest              time.Time // the oldest of these rows, if the table has created_at
	Counted             bool      // false: counting took too long
}

// Look reads the situation. It changes nothing.
func (o Operator) Look(ctx context.Context) (Situation, error) {
	var s Situation
	var err error
	if s.System, err = slot.SystemIdentifier(ctx, o.Pool); err != nil {
		return s, err
	}
	// The slot is read before the row, because a running relay writes the row first.
	if s.Slot, err = slot.LookUp(ctx, o.Pool, o.Slot); err != nil {
		return s, err
	}
	if err := s.Slot.CheckUsable(o.Slot); err != nil {
		return s, err
	}
	if s.Row, err = checkpoint.NewStore(o.Pool, o.Slot).Load(ctx); err != nil {
		return s, err
	}
	fingerprint, err := slot.Fingerprint(ctx, o.Pool, o.Publication)
	if err != nil {
		return s, err
	}
	if s.Imported, err = HasImportedRows(ctx, o.Pool, o.Table); err != nil {
		return s, err
	}
	err = o.Pool.QueryRow(ctx, `SELECT pg_snapshot_xmax(pg_current_snapshot())::text`).Scan(&s.nextXID)
	if err != nil {
		return s, fmt.Errorf("read the next transaction id: %w", err)
	}
	s.Gap = s.gap(fingerprint)
	return s, nil
}

func (s Situation) gap(fingerprint string) string {
	switch {
	case s.Row == nil:
		return "there is no checkpoint"
	case s.Row.SystemIdentifier != s.System:
		return "the checkpoint is of another cluster"
	case s.Row.Recovery != nil:
		return "a recovery is marked or under way"
	}
	return Gap(s.Row, s.Slot, fingerprint)
}

// IsMarked reports whether a recovery is already marked that no relay has begun, so that r adds
// nothing to it.
func (s Situation) IsMarked(r Request) bool {
	return s.Row != nil && s.Row.Recovery.IsMarked() && r.Since.IsZero() && !s.Imported &&
		s.Row.Recovery.ReadsTable() == !r.AcceptLoss
}

// AnotherCluster says how to proceed with a checkpoint row of a cluster other than the one with
// this system identifier.
func AnotherCluster(row *checkpoint.Row, system string) string {
	return fmt.Sprintf("the checkpoint of slot %s belongs to a cluster with system identifier %s, and this cluster "+
		"has %s: the checkpoint's positions mean nothing here. If pg_upgrade created this cluster, transaction ids "+
		"were kept: run relay recover --trust-horizon. If the rows were copied (a dump, a blue/green deployment, "+
		"logical replication), run relay recover --since=TIME with the last time up to which you know that all "+
		"events were delivered. Each command shows its plan, and executes it with "+
		"--yes", row.Slot, row.SystemIdentifier, system)
}

// Plan returns the rows that a recovery would publish. If the recovery must not be requested, the
// error says why and how to proceed.
func (o Operator) Plan(ctx context.Context, s Situation, r Request) (Plan, error) {
	if s.Row != nil && s.Row.Table != o.Table.Key() {
		return Plan{}, fmt.Errorf("slot %s relays table %s, and RELAY_TABLE is %s: change RELAY_TABLE or RELAY_SLOT",
			o.Slot, s.Row.Table, o.Table)
	}
	if err := o.refuse(ctx, s, r); err != nil {
		return Plan{}, err
	}
	if r.AcceptLoss {
		return Plan{Recovery: checkpoint.Recovery{Since: checkpoint.SinceNever}}, nil
	}
	if !r.Since.IsZero() {
		if err := outboxtable.RequireTimeZone(ctx, o.Pool, o.Table, "--since"); err != nil {
			return Plan{}, err
		}
	}
	p := Plan{Recovery: checkpoint.Recovery{From: NothingDelivered}}
	switch {
	case !r.Since.IsZero():
		p.Since = r.Since.UTC().Format(time.RFC3339Nano)
	case s.Row.Recovery != nil: // the recovery keeps its From
		p.From, p.Since = s.Row.Recovery.From, s.Row.Recovery.Since
	case s.Row.Horizon != "":
		p.From = s.Row.Horizon
	}
	return p, o.count(ctx, &p)
}

// count counts the rows that may be published again. Counted stays false if that takes too long.
func (o Operator) count(ctx context.Context, p *Plan) error {
	counting, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	for _, table := range o.Table.Each() {
		err := o.countIn(counting, table, p)
		if err != nil && counting.Err() != nil && ctx.Err() == nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("count the rows that may be published again: %w", err)
		}
	}
	p.Counted = true
	return nil
}

// countIn adds the rows of one table.
func (o Operator) countIn(ctx context.Context, table outboxtable.Table, p *Plan) error {
	oldest, condition, args := "NULL", "", []any{p.From, o.Slot}
	if table.Columns.CreatedAt != "" {
		oldest = "{created_at}"
	}
	if p.Since != "" {
		condition, args = " AND {created_at} >= $3::timestamptz", append(args, p.Since)
	}
	var rows int64
	var created *time.Time
	query := `SELECT count(*), pg_catalog.min(` + oldest + `)::timestamptz FROM {table} WHERE` + undelivered + ` AND ` +
		table.FilterSQL("") + condition
	err := o.Pool.QueryRow(ctx, selection(table, query, placeholders{from: 1, slot: 2}), args...).
		Scan(&rows, &created)
	if err != nil {
		return err
	}
	p.Rows += rows
	if created != nil && (p.Oldest.IsZero() || created.Before(p.Oldest)) {
		p.Oldest = *created
	}
	return nil
}

// Mark requests the recovery from the slot's relay. A running relay notices the raised epoch and
// begins a new session. Mark also gives imported rows transaction ids of this cluster, and reports
// to rewritten how many rows it has changed so far.
//
// Mark writes the mark before it changes the rows, and again afterwards. Without the first mark,
// the horizon of a running relay would soon cover the new ids, and a recovery from that horizon
// would miss the rows. Without the second mark, a slot that a relay has created in the meantime
// would miss the rows that were changed after its creation.
func (o Operator) Mark(ctx context.Context, s Situation, r Request, p Plan, rewritten func(rows int64)) error {
	var imported []importedRows
	var waiting deferral.Imported
	if s.Imported || !r.Since.IsZero() {
		var err error
		if imported, err = findAllImported(ctx, o.Pool, o.Table); err != nil {
			return err
		}
		if waiting, err = deferral.FindImported(ctx, o.Pool, o.Slot, o.Table); err != nil {
			return err
		}
	}
	err := o.mark(ctx, s, r, p)
	if errors.Is(err, slot.ErrFenced) {
		return fmt.Errorf("nothing is marked, because a relay acquired slot %s in the meantime: run the command "+
			"again", o.Slot)
	}
	if err != nil || len(imported) == 0 {
		return err
	}
	var copied []uint64
	for _, rows := range imported {
		more, err := rows.rewriteXIDs(ctx, o.Pool, rewritten)
		if err != nil {
			return err
		}
		copied = append(copied, more...)
	}
	if err := waiting.Restore(ctx, o.Pool, o.Slot, o.Table.Key(), copied); err != nil {
		return err
	}
	return o.markAgain(ctx, s, p.From)
}

func (o Operator) mark(ctx context.Context, s Situation, r Request, p Plan) error {
	store := checkpoint.NewStore(o.Pool, o.Slot)
	switch {
	case r.AcceptLoss:
		return store.AcceptLoss(ctx, s.Row.Epoch, s.System, s.Slot.IsIntact())
	case s.Row == nil:
		return store.Create(ctx, checkpoint.Row{
			Table: o.Table.Key(), Tables: o.Table.Names(), SystemIdentifier: s.System, Recovery: &p.Recovery,
		})
	case !r.Since.IsZero():
		return store.RestartRecovery(ctx, s.Row.Epoch, s.System, p.Since)
	}
	return store.BeginRecovery(ctx, s.Row.Epoch, s.System, "", s.Slot.IsIntact())
}

// markAgain marks the recovery that began at from, however far a relay has come with it.
func (o Operator) markAgain(ctx context.Context, s Situation, from string) error {
	store := checkpoint.NewStore(o.Pool, o.Slot)
	for {
		row, err := store.Load(ctx)
		if err != nil {
			return err
		}
		if row == nil {
			return fmt.Errorf("the checkpoint of slot %s was removed in the meantime, and nothing is marked: "+
				"run relay recover again", o.Slot)
		}
		err = store.BeginRecovery(ctx, row.Epoch, s.System, from, s.Slot.IsIntact())
		if !errors.Is(err, slot.ErrFenced) {
			return err
		}
	}
}
