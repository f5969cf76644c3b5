package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

const (
	// auditInterval is the pause between two checks whether a horizon is reached. auditRetry is the
	// pause after a failed count.
	auditInterval, auditRetry = 100 * time.Millisecond, 5 * time.Second
	// countTimeout bounds one count. It is long enough for a backlog of a hundred million rows.
	countTimeout = 10 * time.Minute
)

// Auditor compares the rows of the table with those that the stream brought, from each horizon to
// the next. A horizon is stored only if both agree. So a recovery begins before the missing rows.
type Auditor struct {
	Deps
	// Brought has the common seqs that this session has read from the log and from the table. It
	// also has those of the session before, if that ended with an in-place recovery or for new
	// tables.
	Brought *Sequences

	ledgers  ledgers
	recent   *Recent // rows read since the last horizon that agreed
	counting Horizon // the end of the step of all ledgers

	mu       sync.Mutex
	off      bool
	expected Horizon
	agreed   Horizon
}

// Deps are the dependencies of an [Auditor].
type Deps struct {
	On       bool // off: the Auditor remembers seqs, and compares nothing
	Pool     *pgxpool.Pool
	Store    *checkpoint.Store
	Fence    slot.Fence
	Table    outboxtable.Table
	Position func() pglogrepl.LSN // everything before it is delivered
	Begun    <-chan struct{}      // closed once the stream is read
	Timeout  time.Duration        // of a query that reads few rows
	Observer Observer
	// Retries receives the error that the Auditor retries, or nil once it has succeeded.
	Retries func(error)
	Log     *slog.Logger
}

// Observer counts rows for metrics.
type Observer interface {
	Audited(rows int64)
	EventsMissing(rows int64)
}

// New returns an Auditor. brought has the seqs that the session before has read, or is nil.
func New(deps Deps, brought *Sequences) *Auditor {
	if brought == nil {
		brought = NewSequences()
	}
	return &Auditor{
		Deps: deps, Brought: brought, ledgers: newLedgers(deps.Pool, deps.Table), recent: NewRecent(), off: !deps.On,
	}
}

// Streamed counts a row of the stream.
func (a *Auditor) Streamed(e *outbox.Envelope) {
	if xid, counts := a.remember(e); counts {
		a.ledgers.of(e.Source).Streamed(xid)
	}
}

// Read remembers a row of the table.
func (a *Auditor) Read(e *outbox.Envelope) { a.remember(e) }

// remember remembers a row, whether it came from the stream or from the table. It returns the row's
// transaction if the Auditor counts rows.
func (a *Auditor) remember(e *outbox.Envelope) (xid uint64, counts bool) {
	if seq, err := e.CommonSeq(); err == nil {
		a.Brought.Add(seq)
	}
	if !a.On {
		return 0, false
	}
	xid, err := pgsnapshot.ParseXID(e.XID)
	if err != nil {
		return 0, false
	}
	a.recent.add(xid, e.Sequence, e.ID, e.Source)
	return xid, true
}

// Run audits until ctx ends, and then returns nil. It returns an error if events are missing or if
// another relay holds the slot. It retries a round that fails, and the horizon waits. Other parts
// of the session find out whether the database is available.
func (a *Auditor) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-a.Begun:
	}
	for ctx.Err() == nil && !a.isOff() {
		pause := auditInterval
		err := postgres.WithRemedy(a.look(ctx))
		a.Retries(err)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, checkpoint.ErrEventsMissing), errors.Is(err, ErrPublicationChanged),
			errors.Is(err, slot.ErrFenced):
			return err
		case err != nil:
			a.Log.Warn("audit: trying again", "slot", a.Fence.Slot, "err", err)
			pause = auditRetry
		}
		task.Sleep(ctx, pause)
	}
	<-ctx.Done()
	return nil
}

func (a *Auditor) look(ctx context.Context) error {
	if !a.ledgers.begun() {
		return a.begin(ctx)
	}
	h, due := a.due()
	if !due {
		return nil
	}
	if h != a.counting {
		snapshot, err := pgsnapshot.Parse(h.Snapshot)
		if err != nil {
			return err
		}
		a.ledgers.each(func(l *tableLedger) { l.Expect(snapshot) })
		a.counting = h
	}
	if a.Position() < h.LSN {
		return nil
	}
	return a.count(ctx, h)
}

// begin takes a new baseline: at the start, and after the ledger has exceeded its memory.
func (a *Auditor) begin(ctx context.Context) error {
	a.ledgers.restart()
	a.counting = Horizon{}
	switch unindexed, err := a.ledgers.unindexed(ctx, a.Timeout); {
	case err != nil:
		return err
	case unindexed != nil:
		a.turnOff()
		xid := unindexed.Columns.XID
		a.Log.Warn("the audit is off: it needs an index on "+xid+", and so does recovery. Run CREATE INDEX ON "+
			unindexed.Identifier()+" ("+outboxtable.Quote(xid)+"), or set RELAY_AUDIT=off to end this warning",
			"event", "audit_off", "slot", a.Fence.Slot)
		return nil
	}
	baseline, err := a.ledgers.baseline(ctx, a.Timeout)
	if err != nil {
		return err
	}
	if baseline.Imported {
		a.Log.Warn("audit: the table has rows with transaction ids of another cluster. The audit pauses until this "+
			"cluster reaches these ids: relay check says how to proceed", "slot", a.Fence.Slot, "xid", baseline.XID)
	}
	a.ledgers.begin(baseline.XID)
	a.Log.Debug("audit: begun", "event", "audit_begun", "slot", a.Fence.Slot, "xid", baseline.XID)
	return nil
}

// count compares the rows of the step that ends at h, which is reached.
func (a *Auditor) count(ctx context.Context, h Horizon) error {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	if !a.ledgers.begun() { // there were too many transactions to count
		return nil
	}
	if h.Suspicion.IsOpen() {
		return a.compareRows(ctx, h)
	}
	rows, err := a.ledgers.count(ctx)
	if err != nil {
		// Without a restart, the step would grow and the horizon would wait for ever.
		if ctx.Err() != nil {
			a.ledgers.restart()
		}
		return err
	}
	for i, l := range a.ledgers.all {
		if err := a.compareCounts(ctx, l, rows[i]); err != nil {
			return err
		}
	}
	return a.settle(h)
}

// compareCounts compares the rows of one table in a step with those that the stream brought.
func (a *Auditor) compareCounts(ctx context.Context, l *tableLedger, rows int64) error {
	step, _ := l.Step()
	a.Observer.Audited(rows)
	if rows <= step.Streamed {
		return nil
	}
	missing, err := l.missing(ctx, step, rows, a.Brought)
	if err != nil {
		return err
	}
	if missing > 0 {
		a.Log.Error("the outbox table has events that the stream did not bring", "event", "events_missing",
			"slot", a.Fence.Slot, "table", l.table.table.String(), "missing", missing, "rows", rows,
			"streamed", step.Streamed, "from", step.From.String(), "to", step.To.String())
		return a.Missing(ctx, missing)
	}
	a.Log.Debug("audit: older rows have newer transaction ids", "slot", a.Fence.Slot, "rows", rows-step.Streamed)
	return nil
}

// settle ends the step up to h, in which no row is missing.
func (a *Auditor) settle(h Horizon) error {
	snapshot, err := pgsnapshot.Parse(h.Snapshot)
	if err != nil {
		return err
	}
	a.ledgers.each(func(l *tableLedger) { l.Settle() })
	a.recent.Forget(snapshot)
	a.agree(h)
	return nil
}

// Missing records that the slot does not bring every event, and ends the session. The next session
// proceeds as after the loss of the slot, according to RELAY_ON_SLOT_LOSS.
func (a *Auditor) Missing(ctx context.Context, rows int64) error {
	a.Observer.EventsMissing(rows)
	if err := a.Store.SetEventsMissing(ctx, a.Fence); err != nil {
		return err
	}
	return checkpoint.ErrEventsMissing
}

func (a *Auditor) turnOff() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.off = true
}

func (a *Auditor) isOff() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.off
}

// compareRows compares the rows up to a horizon under a suspicion individually.
func (a *Auditor) compareRows(ctx context.Context, h Horizon) error {
	from, err := pgsnapshot.Parse(a.agreedWith().Snapshot)
	if err != nil {
		return err
	}
	to, err := pgsnapshot.Parse(h.Snapshot)
	if err != nil {
		return err
	}
	doubt, err := a.ledgers.doubt(ctx, Step{From: from, To: to}, a.recent)
	if err != nil {
		return err
	}
	if doubt != "" {
		return fmt.Errorf("%w, and the table does not prove that no row is missing: %s", ErrPublicationChanged, doubt)
	}
	return a.settle(h)
}
