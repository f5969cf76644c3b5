package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay/internal/audit"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// errPublicationChanged says that rows may have been written while the publication would not have
// streamed them.
var errPublicationChanged = errors.New("the publication was changed while the relay was streaming")

// suspicion is a publication that was written, and streams every row of the table as before. It may
// have been changed and changed back, so that rows written in between are not in the stream. The
// table tells, row by row.
type suspicion struct {
	fingerprint string // of the publication as it is
	next        uint64 // the first transaction id that had not been given out when the relay saw it
}

func (s suspicion) isOpen() bool { return s.fingerprint != "" }

// suspect opens a suspicion where the publication was written since the last look. It returns
// [errPublicationChanged] where only the table can tell which rows are missing, or nothing can.
func (k *keeper) suspect(seen slot.Observation) error {
	last := cmp.Or(k.suspicion.fingerprint, k.held.row.Fingerprint)
	if seen.Fingerprint == last {
		return nil
	}
	if !slot.StreamsTheSame(last, seen.Fingerprint) || !k.auditor.hasAgreed() {
		return errPublicationChanged
	}
	snapshot, err := audit.ParseSnapshot(seen.Snapshot)
	if err != nil {
		return err
	}
	k.suspicion = suspicion{seen.Fingerprint, snapshot.Next()}
	k.Log.Info("the publication was written, and streams the same as before: comparing the stream with the table row by row", "slot", k.Slot)
	return nil
}

// allays reports whether the pending horizon ends the suspicion once it is reached: every
// transaction that began before the relay saw the publication as it is has ended by then.
func (k *keeper) allays() bool {
	if !k.suspicion.isOpen() || k.pending.suspicion != k.suspicion {
		return false
	}
	snapshot, err := audit.ParseSnapshot(k.pending.snapshot)
	return err == nil && snapshot.IsPast(k.suspicion.next)
}

// allay ends the session, once: the walsender of the next one has decoded nothing of the time
// before. Postgres 17.4 streams no rows of a table for as long as its walsender remembers the
// publication without it.
func (k *keeper) allay() {
	k.held.row.Fingerprint, k.suspicion = k.suspicion.fingerprint, suspicion{}
	select {
	case <-k.allayed:
	default:
		k.Log.Info("the publication was written, and no event is missing", "slot", k.Slot)
		close(k.allayed)
	}
}

// testify compares the rows up to a horizon that was taken under a suspicion, one by one.
func (a *auditor) testify(ctx context.Context, h horizon) error {
	from, err := audit.ParseSnapshot(a.agreedWith().snapshot)
	if err != nil {
		return err
	}
	to, err := audit.ParseSnapshot(h.snapshot)
	if err != nil {
		return err
	}
	doubt, err := a.table.Doubt(ctx, audit.Step{From: from, To: to}, a.recent)
	if err != nil {
		return err
	}
	if doubt != "" {
		return fmt.Errorf("%w, and the table does not show that nothing is missing: %s", errPublicationChanged, doubt)
	}
	return a.settle(h)
}
