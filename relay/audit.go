package relay

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/internal/audit"
	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
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

// auditor compares what stands in the table with what the stream brought, from each horizon to the next. A horizon is
// stored only once it agrees, so that recovery begins before what is missing.
type auditor struct {
	*session
	ledger   *audit.Ledger
	recent   *audit.Recent    // what it has read and the last horizon that agreed does not show
	brought  *audit.Sequences // what this session, or the recovery just before it, has read from the log and from the table
	firstSeq int64            // rows up to it were there before the ledger began
	table    *audit.Table
	counting horizon // where the ledger's step ends

	mu       sync.Mutex
	off      bool
	expected horizon
	agreed   horizon
}

func newAuditor(s *session) *auditor {
	brought := s.brought
	if s.brought = nil; brought == nil {
		brought = audit.NewSequences()
	}
	return &auditor{
		session: s, ledger: audit.NewLedger(), recent: audit.NewRecent(), brought: brought, table: audit.NewTable(s.pool, s.Table), off: !s.Audit,
	}
}

// streamed counts a row of the stream.
func (a *auditor) streamed(e *outbox.Envelope) {
	if xid, counts := a.read(e); counts {
		a.ledger.Streamed(xid)
	}
}

// read remembers a row, wherever it was read. It returns the row's transaction if rows are counted.
func (a *auditor) read(e *outbox.Envelope) (xid uint64, counts bool) {
	if seq, err := strconv.ParseInt(e.Sequence, 10, 64); err == nil {
		a.brought.Add(seq)
	}
	if !a.Audit {
		return 0, false
	}
	xid, err := audit.ParseXID(e.XID)
	if err != nil {
		return 0, false
	}
	a.recent.Add(xid, e.Sequence, e.ID)
	return xid, true
}

// expect takes the horizon that is to be audited next.
func (a *auditor) expect(h horizon) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expected = h
}

// agrees reports whether the table has no row up to the horizon that the stream did not bring.
func (a *auditor) agrees(h horizon) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.off || a.agreed == h
}

// run audits until ctx ends, then it returns nil, or until events are missing or the slot is another relay's. A look that fails
// is tried again, and the horizon waits: whether the database can be used is for others to find out.
func (a *auditor) run(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-a.intake.begun:
	}
	for ctx.Err() == nil && !a.isOff() {
		pause := auditInterval
		err := postgres.WithCure(a.look(ctx))
		a.Health.Retries("audit", err)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, checkpoint.ErrEventsMissing), errors.Is(err, errPublicationChanged), errors.Is(err, slot.ErrFenced):
			return err
		case err != nil:
			a.Log.Warn("audit: trying again", "slot", a.Slot, "err", err)
			pause = auditRetry
		}
		task.Sleep(ctx, pause)
	}
	<-ctx.Done()
	return nil
}

func (a *auditor) look(ctx context.Context) error {
	if !a.ledger.Begun() {
		return a.begin(ctx)
	}
	h, due := a.due()
	if !due {
		return nil
	}
	if h != a.counting {
		snapshot, err := audit.ParseSnapshot(h.snapshot)
		if err != nil {
			return err
		}
		a.ledger.Expect(snapshot)
		a.counting = h
	}
	if a.tracker.Position().FlushLSN < h.lsn {
		return nil
	}
	return a.count(ctx, h)
}

// begin takes a new baseline: at first, and when the ledger had more to remember than it may.
func (a *auditor) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.SenderTimeout)
	defer cancel()
	a.ledger.Restart()
	a.counting = horizon{}
	switch indexed, err := a.table.Indexed(ctx); {
	case err != nil:
		return err
	case !indexed:
		a.turnOff()
		a.Log.Warn("the audit is off: it needs an index on "+a.Table.Columns.XID+": CREATE INDEX ON "+
			pgx.Identifier{a.Table.Schema, a.Table.Name}.Sanitize()+" ("+pgx.Identifier{a.Table.Columns.XID}.Sanitize()+
			"), which recovery needs too; RELAY_AUDIT=off ends this warning", "slot", a.Slot)
		return nil
	}
	baseline, err := a.table.Baseline(ctx)
	if err != nil {
		return err
	}
	if baseline.Foreign {
		a.Log.Warn("audit: rows carry the transaction ids of another cluster, and nothing is audited until this one gets there: "+
			"relay check says what to do", "slot", a.Slot, "xid", baseline.XID)
	}
	a.ledger.Begin(baseline.XID)
	a.firstSeq = baseline.Seq
	a.Log.Debug("audit: begun", "event", "audit_begun", "slot", a.Slot, "xid", baseline.XID)
	return nil
}

// count compares the step that ends at h, which is reached.
func (a *auditor) count(ctx context.Context, h horizon) error {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	step, complete := a.ledger.Step()
	if !complete {
		return nil
	}
	if h.suspicion.isOpen() {
		return a.testify(ctx, h)
	}
	rows, err := a.table.Count(ctx, step)
	if err != nil {
		if ctx.Err() != nil { // or the horizon would wait for ever
			a.ledger.Restart()
		}
		return err
	}
	a.Metrics.Audited(rows)
	if rows > step.Streamed {
		missing, err := a.table.Missing(ctx, step, rows, max(a.firstSeq, a.brought.Floor()), a.brought.Has)
		if err != nil {
			return err
		}
		if missing > 0 {
			a.Log.Error(eventsMissing, "event", "events_missing", "slot", a.Slot, "missing", missing, "rows", rows, "streamed", step.Streamed,
				"from", step.From.String(), "to", step.To.String())
			return a.missing(ctx, missing)
		}
		a.Log.Debug("audit: rows that were there before have newer transaction ids", "slot", a.Slot, "rows", rows-step.Streamed)
	}
	return a.settle(h)
}

// settle ends the step up to h, in which nothing is missing.
func (a *auditor) settle(h horizon) error {
	snapshot, err := audit.ParseSnapshot(h.snapshot)
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

// missing notes that the slot does not bring every event, as a slot that is lost does not, and ends the session. The next
// one does what RELAY_ON_SLOT_LOSS says.
func (a *auditor) missing(ctx context.Context, rows int64) error {
	a.Metrics.EventsMissing(rows)
	if err := a.store.SetEventsMissing(ctx, a.held.fence); err != nil {
		return err
	}
	return checkpoint.ErrEventsMissing
}

// due returns the horizon that is to be audited, if there is one.
func (a *auditor) due() (horizon, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.expected, a.expected != a.agreed
}

func (a *auditor) agree(h horizon) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.agreed = h
}

// agreedWith returns the last horizon up to which nothing is missing, in this session.
func (a *auditor) agreedWith() horizon {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.agreed
}

// hasAgreed reports whether rows are compared, and there is a horizon to begin from.
func (a *auditor) hasAgreed() bool { return !a.isOff() && a.agreedWith() != horizon{} }

func (a *auditor) turnOff() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.off = true
}

func (a *auditor) isOff() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.off
}
