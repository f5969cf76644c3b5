package recovery

import (
	"cmp"
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// NothingDelivered is a horizon before every transaction: transaction ids begin at 3.
const NothingDelivered = "3:3:"

// Gap returns why the slot, as it is, may not bring every event that the checkpoint row says is missing, or the empty
// string if it does. It is asked by a relay that holds the slot or found that there is none to hold.
//
// A slot that was synchronised to a standby which then became the primary is judged like any other. The standby takes over a
// confirmed_flush_lsn once it has flushed the log up to there, and replays all of that before it is promoted. The relay
// writes its row, and parks an event, behind the events that they speak of, and only then confirms. So if the slot is not
// ahead of the row, then the row is there, and so is every dead letter that it counts on. If it is ahead, then the old primary
// died with that row on its way, and a dead letter may have been on the same way: only the table still knows of its event.
// https://www.postgresql.org/docs/current/logicaldecoding-explanation.html#LOGICALDECODING-REPLICATION-SLOTS-SYNCHRONIZATION
func Gap(row *checkpoint.Row, s slot.State, fingerprint string) string {
	switch {
	case !s.Exists:
		return "the slot is gone"
	case s.Lost():
		return "the server has invalidated the slot: " + cmp.Or(s.InvalidReason, "wal_status is "+s.WALStatus)
	case s.ConfirmedFlushLSN > row.Position.FlushLSN:
		return fmt.Sprintf("confirmed_flush_lsn %s is ahead of the checkpoint %s: %s", s.ConfirmedFlushLSN, row.Position.FlushLSN, whyAhead(s))
	case row.Fingerprint == checkpoint.EventsMissing:
		return "the audit found events in the outbox table that the stream did not bring"
	case fingerprint != row.Fingerprint:
		return "the publication was changed: what was written meanwhile may not have been streamed"
	}
	return ""
}

func whyAhead(s slot.State) string {
	if s.Synced {
		return "the primary before was lost with a checkpoint on its way to this server, or somebody advanced the slot"
	}
	return "the slot was made again or advanced by somebody else"
}
