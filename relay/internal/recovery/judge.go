package recovery

import (
	"cmp"
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// NothingDelivered is a horizon before every transaction. Transaction ids begin at 3.
const NothingDelivered = "3:3:"

// Gap returns why the slot may not bring every event that the checkpoint row counts as undelivered,
// or the empty string if the slot brings all of them. The caller holds the slot or found none to
// hold.
//
// A slot that was synchronised to a standby is judged like any other once that standby is the
// primary. The standby adopts a confirmed_flush_lsn after it has flushed the log up to there, and
// it replays all of that log before it is promoted. The relay confirms a position only after the
// server has written the row and the dead letters of that position. So a slot that is not ahead of
// the row proves that the row and its dead letters have arrived. A slot that is ahead shows that
// the old primary was lost before it sent that row. A dead letter may have been lost with the row,
// and then only the table has its event.
// https://www.postgresql.org/docs/current/logicaldecoding-explanation.html#LOGICALDECODING-REPLICATION-SLOTS-SYNCHRONIZATION
func Gap(row *checkpoint.Row, s slot.State, fingerprint string) string {
	switch {
	case !s.Exists:
		return "the slot is gone"
	case s.Lost():
		return "the server has invalidated the slot: " + cmp.Or(s.InvalidReason, "wal_status is "+s.WALStatus)
	case s.ConfirmedFlushLSN > row.Position.FlushLSN:
		return fmt.Sprintf("confirmed_flush_lsn %s is ahead of the checkpoint %s: %s",
			s.ConfirmedFlushLSN, row.Position.FlushLSN, whyAhead(s))
	case row.Fingerprint == checkpoint.EventsMissing:
		return "the audit found events in the outbox table that the stream did not bring"
	case fingerprint != row.Fingerprint:
		return "the publication was changed: rows written in the meantime may not have been streamed"
	}
	return ""
}

// LosesLog reports whether a part of the log is gone that the checkpoint row counts as undelivered.
// A gap of the publication loses none: the slot still brings that part.
func LosesLog(row *checkpoint.Row, s slot.State) bool {
	return !s.IsIntact() || s.ConfirmedFlushLSN > row.Position.FlushLSN
}

// MayBeLost names the events that may be lost at a gap of a table that does not show them.
func MayBeLost(row *checkpoint.Row, s slot.State) string { return MayBeLostOf("Events", row, s) }

// MayBeLostOf is [MayBeLost] for things of another name. While the slot is gone, no relay writes
// the row, so its time is that of the last delivery.
func MayBeLostOf(things string, row *checkpoint.Row, s slot.State) string {
	if s.IsIntact() {
		return things + " that the slot does not bring"
	}
	return things + " that were committed since about " + row.UpdatedAt.UTC().Format(time.RFC3339)
}

func whyAhead(s slot.State) string {
	if s.Synced {
		return "the former primary was lost before it sent a checkpoint to this server, or another client advanced " +
			"the slot"
	}
	return "another client created the slot again or advanced it"
}
