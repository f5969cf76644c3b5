package checkpointer

import (
	"cmp"

	"github.com/outbox-relay/outbox-relay/relay/internal/audit"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// suspect opens a suspicion where the publication was written since the last look. It returns
// [audit.ErrPublicationChanged] where only the table can tell which rows are missing, or nothing can.
func (c *Checkpointer) suspect(seen slot.Observation) error {
	last := cmp.Or(c.suspicion.Fingerprint, c.Row.Fingerprint)
	if seen.Fingerprint == last {
		return nil
	}
	if !slot.StreamsTheSame(last, seen.Fingerprint) || !c.Auditor.HasAgreed() {
		return audit.ErrPublicationChanged
	}
	snapshot, err := audit.ParseSnapshot(seen.Snapshot)
	if err != nil {
		return err
	}
	c.suspicion = audit.Suspicion{Fingerprint: seen.Fingerprint, Next: snapshot.Next()}
	c.Log.Info("the publication was written, and streams the same as before: comparing the stream with the table row by row", "slot", c.Fence.Slot)
	return nil
}

// allays reports whether the pending horizon ends the suspicion once it is reached: every
// transaction that began before the relay saw the publication as it is has ended by then.
func (c *Checkpointer) allays() bool {
	if !c.suspicion.IsOpen() || c.pending.Suspicion != c.suspicion {
		return false
	}
	snapshot, err := audit.ParseSnapshot(c.pending.Snapshot)
	return err == nil && snapshot.IsPast(c.suspicion.Next)
}

// allay ends the session, once: the walsender of the next one has decoded nothing of the time
// before. Postgres 17.4 streams no rows of a table for as long as its walsender remembers the
// publication without it.
func (c *Checkpointer) allay() {
	c.Row.Fingerprint, c.suspicion = c.suspicion.Fingerprint, audit.Suspicion{}
	select {
	case <-c.allayed:
	default:
		c.Log.Info("the publication was written, and no event is missing", "slot", c.Fence.Slot)
		close(c.allayed)
	}
}
