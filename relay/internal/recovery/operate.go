package recovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// countTimeout bounds how long rows are counted for a person who only wants to know about how many there are.
const countTimeout = 10 * time.Second

// Operator looks at a slot and its table for a person, and asks the relay of that slot for a recovery.
type Operator struct {
	Pool        *pgxpool.Pool
	Slot        string
	Publication slot.Publication
	Table       pgoutput.Table
}

// Request says where a recovery begins. The zero Request is the horizon of a checkpoint of this cluster.
type Request struct {
	TrustHorizon bool      // of a checkpoint of another cluster, which this one has taken the transaction ids from
	Since        time.Time // rows created earlier count as delivered, whatever a horizon says
}

// Situation is how things stand before a recovery.
type Situation struct {
	System  string          // identifier of this cluster
	Row     *checkpoint.Row // nil if there is none
	Slot    slot.State
	Gap     string // why the slot may not bring every event; empty if it does
	Foreign bool   // the table has rows with transaction ids that this cluster has yet to give out
	nextXID string // xid8: every transaction that has ended is below
}

// Plan is what a recovery would publish.
type Plan struct {
	checkpoint.Recovery           // without To, which only the new slot says
	Rows                int64     // that may be published again
	Oldest              time.Time // of them, if the table says so
	Counted             bool      // else counting them took too long
}

// Look reads how things stand. It changes nothing.
func (o Operator) Look(ctx context.Context) (Situation, error) {
	var s Situation
	var err error
	if s.System, err = slot.SystemIdentifier(ctx, o.Pool); err != nil {
		return s, err
	}
	if s.Slot, err = slot.LookUp(ctx, o.Pool, o.Slot); err != nil { // before the row, which a running relay writes first
		return s, err
	}
	if err := s.Slot.Foreign(o.Slot); err != nil {
		return s, err
	}
	if s.Row, err = checkpoint.NewStore(o.Pool, o.Slot).Load(ctx); err != nil {
		return s, err
	}
	fingerprint, err := slot.Fingerprint(ctx, o.Pool, o.Publication)
	if err != nil {
		return s, err
	}
	if s.Foreign, err = HasForeignRows(ctx, o.Pool, o.Table); err != nil {
		return s, err
	}
	if err := o.Pool.QueryRow(ctx, `SELECT pg_snapshot_xmax(pg_current_snapshot())::text`).Scan(&s.nextXID); err != nil {
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

// IsMarked reports whether a recovery is marked already that no relay has begun with, so that r asks for nothing new.
func (s Situation) IsMarked(r Request) bool {
	return s.Row != nil && s.Row.Recovery.IsMarked() && r.Since.IsZero() && !s.Foreign
}

// AnotherCluster says what to do about a checkpoint row that was not written in the cluster with this system identifier.
func AnotherCluster(row *checkpoint.Row, system string) string {
	return fmt.Sprintf("the checkpoint of slot %s belongs to a cluster with system identifier %s, this one has %s: its positions mean nothing "+
		"here. If this cluster was made by pg_upgrade, which keeps transaction ids, run relay recover --trust-horizon. If its rows were "+
		"copied (a dump, a blue/green deployment, logical replication), run relay recover --since=TIME, with the last moment that you know was "+
		"delivered. Each shows what it would do, and does it with --yes", row.Slot, row.SystemIdentifier, system)
}

// Plan returns what a recovery would publish, or an error that says why it must not be asked for and what to do instead.
func (o Operator) Plan(ctx context.Context, s Situation, r Request) (Plan, error) {
	if s.Row != nil && s.Row.Table != o.Publication.Table {
		return Plan{}, fmt.Errorf("slot %s relays table %s, RELAY_TABLE says %s: name the right one", o.Slot, s.Row.Table, o.Publication.Table)
	}
	if err := o.refuse(ctx, s, r); err != nil {
		return Plan{}, err
	}
	p := Plan{Recovery: checkpoint.Recovery{From: NothingDelivered}}
	switch {
	case !r.Since.IsZero():
		p.Since = r.Since.UTC().Format(time.RFC3339Nano)
	case s.Row.Recovery != nil: // it keeps where it began
		p.From, p.Since = s.Row.Recovery.From, s.Row.Recovery.Since
	case s.Row.Horizon != "":
		p.From = s.Row.Horizon
	}
	return p, o.count(ctx, &p)
}

func (o Operator) refuse(ctx context.Context, s Situation, r Request) error {
	switch {
	case !r.Since.IsZero():
		return s.refuseSince(r.Since)
	case s.Row == nil:
		return fmt.Errorf("slot %s has no checkpoint that a recovery could begin from: relay run makes one, and RELAY_START says what becomes of the "+
			"rows that are there. For rows that were copied from another cluster, run relay recover --since=TIME", o.Slot)
	case r.TrustHorizon:
		return o.refuseTrust(ctx, s)
	case s.Row.SystemIdentifier != s.System:
		return errors.New(AnotherCluster(s.Row, s.System))
	}
	return nil
}

// refuseSince refuses to forget a horizon that says better what is delivered.
func (s Situation) refuseSince(since time.Time) error {
	ofThisCluster := s.Row != nil && s.Row.SystemIdentifier == s.System
	switch {
	case since.After(time.Now()):
		return fmt.Errorf("--since=%s lies in the future: what is written until then would count as delivered", since.Format(time.RFC3339))
	case ofThisCluster && (s.Row.Recovery == nil || s.Row.Recovery.Since == ""):
		return errors.New("the checkpoint belongs to this cluster, and its horizon says which rows are delivered: with --since, older ones that " +
			"are not would be left out. Run relay recover without it")
	}
	return nil
}

// refuseTrust refuses a horizon whose transaction ids cannot be those of this cluster.
func (o Operator) refuseTrust(ctx context.Context, s Situation) error {
	const instead = "Run relay recover --since=TIME instead, with the last moment that you know was delivered"
	if s.Row.SystemIdentifier == s.System {
		return errors.New("the checkpoint belongs to this cluster, there is nothing to trust: run relay recover without --trust-horizon")
	}
	horizon := s.Row.Horizon
	if s.Row.Recovery != nil {
		horizon = s.Row.Recovery.From
	}
	if horizon == "" {
		return errors.New("the checkpoint has no horizon. " + instead)
	}
	var reaches string
	var later bool
	err := o.Pool.QueryRow(ctx, `SELECT pg_snapshot_xmax(h)::text, pg_snapshot_xmax(h) > $2::text::xid8 FROM (SELECT $1::text::pg_snapshot) AS horizon (h)`,
		horizon, s.nextXID).Scan(&reaches, &later)
	switch {
	case err != nil:
		return fmt.Errorf("compare the horizon with this cluster's transaction ids: %w", err)
	case later:
		return fmt.Errorf("the horizon reaches up to transaction %s, and the next one of this cluster is %s: transaction ids were not kept, "+
			"so this is not the same cluster after pg_upgrade, and new rows would count as delivered. %s", reaches, s.nextXID, instead)
	case s.Foreign:
		return fmt.Errorf("the table has rows of transactions that this cluster has yet to come to, its next one is %s: transaction ids were "+
			"not kept, so this is not the same cluster after pg_upgrade. %s", s.nextXID, instead)
	}
	return nil
}

// count counts what may be published again. Where that takes too long, it is not known.
func (o Operator) count(ctx context.Context, p *Plan) error {
	oldest, condition, args := "NULL", "", []any{p.From, o.Slot}
	if o.Table.Columns.CreatedAt != "" {
		oldest = "{created_at}"
	}
	if p.Since != "" {
		condition, args = "AND {created_at} >= $3::timestamptz", append(args, p.Since)
	}
	counting, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	var created *time.Time
	err := o.Pool.QueryRow(counting, selection(o.Table, `
		SELECT count(*), min(`+oldest+`)::timestamptz FROM {table} WHERE`+undelivered+condition, placeholders{from: 1, slot: 2}), args...).
		Scan(&p.Rows, &created)
	if err != nil && counting.Err() != nil && ctx.Err() == nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("count the rows that may be published again: %w", err)
	}
	p.Counted = true
	if created != nil {
		p.Oldest = *created
	}
	return nil
}

// Mark asks the relay of the slot for the recovery: the one that runs notices that the epoch was raised, and begins again. Rows
// of another cluster are given transaction ids of this one, and adopted is told how many by now.
//
// The mark comes first: the horizon of a relay that runs on would soon cover the new ids, and a recovery from there would pass the rows
// by. It is made once more at the end, because a slot that a relay has made meanwhile does not bring what was changed after it.
func (o Operator) Mark(ctx context.Context, s Situation, r Request, p Plan, adopted func(rows int64)) error {
	var foreign *adoption
	if s.Foreign || !r.Since.IsZero() {
		var err error
		if foreign, err = findForeign(ctx, o.Pool, o.Table); err != nil {
			return err
		}
	}
	err := o.mark(ctx, s, r, p)
	if errors.Is(err, slot.ErrFenced) {
		return fmt.Errorf("nothing is marked: a relay took slot %s meanwhile, look again", o.Slot)
	}
	if err != nil || foreign == nil {
		return err
	}
	if err := foreign.adopt(ctx, o.Pool, o.Table, adopted); err != nil {
		return err
	}
	return o.markAgain(ctx, s, p.From)
}

func (o Operator) mark(ctx context.Context, s Situation, r Request, p Plan) error {
	store := checkpoint.NewStore(o.Pool, o.Slot)
	switch {
	case s.Row == nil:
		return store.Create(ctx, checkpoint.Row{Table: o.Publication.Table, SystemIdentifier: s.System, Recovery: &p.Recovery})
	case !r.Since.IsZero():
		return store.BeginAnew(ctx, s.Row.Epoch, s.System, p.Since)
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
			return fmt.Errorf("the checkpoint of slot %s was removed meanwhile, and nothing is marked: run relay recover again", o.Slot)
		}
		if err := store.BeginRecovery(ctx, row.Epoch, s.System, from, s.Slot.IsIntact()); !errors.Is(err, slot.ErrFenced) {
			return err
		}
	}
}
