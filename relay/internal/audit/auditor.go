package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

const (
	// auditInterval is how often it is looked whether a horizon is reached, and auditRetry the pause after a count that failed.
	auditInterval, auditRetry = 100 * time.Millisecond, 5 * time.Second
	// countTimeout bounds one count. It leaves room for a backlog of a hundred million rows.
	countTimeout = 10 * time.Minute
)

// ErrPublicationChanged says that rows may have been written while the publication would not have
// Streamed them.
var ErrPublicationChanged = errors.New("the publication was changed while the relay was streaming")

// Suspicion is a publication that was written, and streams every row of the table as before. It may
// have been changed and changed back, so that rows written in between are not in the stream. The
// table tells, row by row.
type Suspicion struct {
	Fingerprint string // of the publication as it is
	Next        uint64 // the first transaction id that had not been given out when the relay saw it
}

// IsOpen reports whether there is a suspicion.
func (s Suspicion) IsOpen() bool { return s.Fingerprint != "" }

// Horizon is a snapshot, and the position by which everything that is visible in it has been
// streamed.
type Horizon struct {
	Snapshot  string
	LSN       pglogrepl.LSN
	Delivered uint64 // events, by the time it was observed
	Suspicion Suspicion
}

// Auditor compares the rows of the table with those that the stream brought, from each horizon to the
// next. A horizon is stored only once it agrees, so that a recovery begins before what is missing.
type Auditor struct {
	Deps
	// Brought has the seqs that this session, or the recovery just before it, has read from the log and
	// from the table.
	Brought *Sequences

	ledger   *Ledger
	recent   *Recent // what it has read and the last horizon that agreed does not show
	firstSeq int64   // rows up to it were there before the ledger began
	table    *Table
	counting Horizon // where the ledger's step ends

	mu       sync.Mutex
	off      bool
	expected Horizon
	agreed   Horizon
}

// Deps are what an [Auditor] works with.
type Deps struct {
	On       bool // off: it remembers seqs, and compares nothing
	Pool     *pgxpool.Pool
	Store    *checkpoint.Store
	Fence    slot.Fence
	Table    pgoutput.Table
	Position func() pglogrepl.LSN // up to which everything is delivered
	Begun    <-chan struct{}      // closed once the stream is read
	Timeout  time.Duration        // of a query that looks at few rows
	Observer Observer
	// Retries takes the error that the Auditor retries, or nil once it works again.
	Retries func(error)
	Log     *slog.Logger
}

// Observer counts, for metrics.
type Observer interface {
	Audited(rows int64)
	EventsMissing(rows int64)
}

// New returns an Auditor. brought are the seqs that the session before has read; nil for none.
func New(deps Deps, brought *Sequences) *Auditor {
	if brought == nil {
		brought = NewSequences()
	}
	return &Auditor{
		Deps: deps, Brought: brought, ledger: NewLedger(), recent: NewRecent(), table: NewTable(deps.Pool, deps.Table), off: !deps.On,
	}
}

// Streamed counts a row of the stream.
func (a *Auditor) Streamed(e *outbox.Envelope) {
	if xid, counts := a.remember(e); counts {
		a.ledger.Streamed(xid)
	}
}

// Read remembers a row of the table.
func (a *Auditor) Read(e *outbox.Envelope) { a.remember(e) }

// remember remembers a row, wherever it was read. It returns the row's transaction if rows are counted.
func (a *Auditor) remember(e *outbox.Envelope) (xid uint64, counts bool) {
	if seq, err := strconv.ParseInt(e.Sequence, 10, 64); err == nil {
		a.Brought.Add(seq)
	}
	if !a.On {
		return 0, false
	}
	xid, err := ParseXID(e.XID)
	if err != nil {
		return 0, false
	}
	a.recent.Add(xid, e.Sequence, e.ID)
	return xid, true
}

// Expect takes the horizon that is to be audited next.
func (a *Auditor) Expect(h Horizon) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expected = h
}

// Agrees reports whether the table has no row up to the horizon that the stream did not bring.
func (a *Auditor) Agrees(h Horizon) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.off || a.agreed == h
}

// Run audits until ctx ends, then it returns nil, or until events are missing or the slot is another relay's. A look that fails
// is tried again, and the horizon waits: whether the database can be used is for others to find out.
func (a *Auditor) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-a.Begun:
	}
	for ctx.Err() == nil && !a.isOff() {
		pause := auditInterval
		err := postgres.WithCure(a.look(ctx))
		a.Retries(err)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, checkpoint.ErrEventsMissing), errors.Is(err, ErrPublicationChanged), errors.Is(err, slot.ErrFenced):
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
	if !a.ledger.Begun() {
		return a.begin(ctx)
	}
	h, due := a.due()
	if !due {
		return nil
	}
	if h != a.counting {
		snapshot, err := ParseSnapshot(h.Snapshot)
		if err != nil {
			return err
		}
		a.ledger.Expect(snapshot)
		a.counting = h
	}
	if a.Position() < h.LSN {
		return nil
	}
	return a.count(ctx, h)
}

// begin takes a new baseline: at first, and when the ledger had more to remember than it may.
func (a *Auditor) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	a.ledger.Restart()
	a.counting = Horizon{}
	switch indexed, err := a.table.Indexed(ctx); {
	case err != nil:
		return err
	case !indexed:
		a.turnOff()
		a.Log.Warn("the audit is off: it needs an index on "+a.Deps.Table.Columns.XID+": CREATE INDEX ON "+
			a.Deps.Table.Identifier()+" ("+pgoutput.Quote(a.Deps.Table.Columns.XID)+
			"), which recovery needs too; RELAY_AUDIT=off ends this warning", "slot", a.Fence.Slot)
		return nil
	}
	baseline, err := a.table.Baseline(ctx)
	if err != nil {
		return err
	}
	if baseline.Foreign {
		a.Log.Warn("audit: rows carry the transaction ids of another cluster, and nothing is audited until this one gets there: "+
			"relay check says what to do", "slot", a.Fence.Slot, "xid", baseline.XID)
	}
	a.ledger.Begin(baseline.XID)
	a.firstSeq = baseline.Seq
	a.Log.Debug("audit: begun", "event", "audit_begun", "slot", a.Fence.Slot, "xid", baseline.XID)
	return nil
}

// count compares the step that ends at h, which is reached.
func (a *Auditor) count(ctx context.Context, h Horizon) error {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	step, complete := a.ledger.Step()
	if !complete {
		return nil
	}
	if h.Suspicion.IsOpen() {
		return a.testify(ctx, h)
	}
	rows, err := a.table.Count(ctx, step)
	if err != nil {
		if ctx.Err() != nil { // or the horizon would wait for ever
			a.ledger.Restart()
		}
		return err
	}
	a.Observer.Audited(rows)
	if rows > step.Streamed {
		missing, err := a.table.Missing(ctx, step, rows, max(a.firstSeq, a.Brought.Floor()), a.Brought.Has)
		if err != nil {
			return err
		}
		if missing > 0 {
			a.Log.Error(eventsMissing, "event", "events_missing", "slot", a.Fence.Slot, "missing", missing, "rows", rows, "streamed", step.Streamed,
				"from", step.From.String(), "to", step.To.String())
			return a.Missing(ctx, missing)
		}
		a.Log.Debug("audit: rows that were there before have newer transaction ids", "slot", a.Fence.Slot, "rows", rows-step.Streamed)
	}
	return a.settle(h)
}

// settle ends the step up to h, in which nothing is missing.
func (a *Auditor) settle(h Horizon) error {
	snapshot, err := ParseSnapshot(h.Snapshot)
	if err != nil {
		return err
	}
	a.ledger.Settle()
	a.recent.Forget(snapshot)
	a.agree(h)
	return nil
}

// eventsMissing is what the relay logs of a gap.
const eventsMissing = "the outbox table has events that the stream did not bring"

// Missing notes that the slot does not bring every event, as a slot that is lost does not, and ends the session. The next
// one does what RELAY_ON_SLOT_LOSS says.
func (a *Auditor) Missing(ctx context.Context, rows int64) error {
	a.Observer.EventsMissing(rows)
	if err := a.Store.SetEventsMissing(ctx, a.Fence); err != nil {
		return err
	}
	return checkpoint.ErrEventsMissing
}

// due returns the horizon that is to be audited, if there is one.
func (a *Auditor) due() (Horizon, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.expected, a.expected != a.agreed
}

func (a *Auditor) agree(h Horizon) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.agreed = h
}

// agreedWith returns the last horizon up to which nothing is missing, in this session.
func (a *Auditor) agreedWith() Horizon {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.agreed
}

// HasAgreed reports whether rows are compared, and there is a horizon to begin from.
func (a *Auditor) HasAgreed() bool { return !a.isOff() && a.agreedWith() != Horizon{} }

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

// testify compares the rows up to a horizon that was taken under a suspicion, one by one.
func (a *Auditor) testify(ctx context.Context, h Horizon) error {
	from, err := ParseSnapshot(a.agreedWith().Snapshot)
	if err != nil {
		return err
	}
	to, err := ParseSnapshot(h.Snapshot)
	if err != nil {
		return err
	}
	doubt, err := a.table.Doubt(ctx, Step{From: from, To: to}, a.recent)
	if err != nil {
		return err
	}
	if doubt != "" {
		return fmt.Errorf("%w, and the table does not show that nothing is missing: %s", ErrPublicationChanged, doubt)
	}
	return a.settle(h)
}
