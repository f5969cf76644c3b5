package checkpointer

import (
	"cmp"

	"github.com/outbox-relay/outbox-relay/relay/internal/audit"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// suspect opens a suspicion if the publication was written since the last check. It returns
// [audit.ErrPublicationChanged] if the publication streams other rows, or if the audit cannot
// compare.
func (c *Checkpointer) suspect(seen slot.Observation) error {
	last := cmp.Or(c.suspicion.Fingerprint, c.Row.Fingerprint)
	if seen.Fingerprint == last {
		return nil
	}
	if !slot.StreamsTheSame(last, seen.Fingerprint) || !c.Auditor.HasAgreed() {
		return audit.ErrPublicationChanged
	}
	snapshot, err := pgsnapshot.Parse(seen.Snapshot)
	if err != nil {
		return err
	}
	c.suspicion = audit.Suspicion{Fingerprint: seen.Fingerprint, Next: snapshot.Next()}
	c.Log.Info("the publication was written, and streams the same as before: comparing the stream with the table row "+
		"by row",
		"event", "suspicion_opened", "slot", c.Fence.Slot)
	return nil
}

// endsSuspicion reports whether the pending horizon ends the suspicion once it is reached. Every
// transaction that began before the relay saw the current publication has then ended.
func (c *Checkpointer) endsSuspicion() bool {
	if !c.suspicion.IsOpen() || c.pending.Suspicion != c.suspicion {
		return false
	}
	snapshot, err := pgsnapshot.Parse(c.pending.Snapshot)
	return err == nil && snapshot.IsPast(c.suspicion.Next)
}

// endSuspicion ends the session, once. The walsender of the next session has decoded nothing of the
// time before. The walsender of Postgres 17.4 streams no rows of a table while it remembers the
// publication without that table.
func (c *Checkpointer) endSuspicion() {
	c.Row.Fingerprint, c.suspicion = c.suspicion.Fingerprint, audit.Suspicion{}
	select {
	case <-c.suspicionEnded:
	default:
		c.Log.Info("the publication was written, and no event is missing",
			"event", "suspicion_ended", "slot", c.Fence.Slot)
		close(c.suspicionEnded)
	}
}
