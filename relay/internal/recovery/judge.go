// Package recovery finds out whether events may be missing from the stream, and reads from the outbox table exactly those
// that may not have been delivered.
package recovery

import (
	"cmp"
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// Gap returns why the slot, as it is, may not bring every event that the checkpoint row says is missing, or the empty
// string if it does. It is asked by a relay that holds the slot or found that there is none to hold.
func Gap(row *checkpoint.Row, s slot.State, fingerprint string) string {
	switch {
	case !s.Exists:
		return "the slot is gone"
	case s.Lost():
		return "the server has invalidated the slot: " + cmp.Or(s.InvalidReason, "wal_status is "+s.WALStatus)
	case row.Recovery != nil && row.Recovery.To == "":
		return "the slot was made by a recovery that did not get to its first checkpoint"
	case s.ConfirmedFlushLSN > row.Position.FlushLSN && !s.Synced:
		return fmt.Sprintf("confirmed_flush_lsn %s is ahead of the checkpoint %s: the slot was made again or advanced by somebody else",
			s.ConfirmedFlushLSN, row.Position.FlushLSN)
	case fingerprint != row.Fingerprint:
		return "the publication was changed: what was written meanwhile may not have been streamed"
	}
	return ""
}
