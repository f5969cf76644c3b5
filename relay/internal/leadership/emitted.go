package leadership

import (
	"cmp"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/operator"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// checkEmitted refuses to take over a slot from a relay that reads other messages. Positions that
// this relay confirms would drop them from the log, which is their only copy.
func (a *Acquirer) checkEmitted(row *checkpoint.Row) error {
	if row.Emitted == "" || row.Emitted == a.Emitted {
		return nil
	}
	return operator.Needed("slot %s brings messages with the prefix %s, and RELAY_EMITTED %s here. This relay would "+
		"confirm them without delivering them. Set RELAY_EMITTED=%s, or run relay recover --without-messages: with "+
		"--yes the relay continues without those that are not delivered",
		a.Slot, row.Emitted, prefixText(a.Emitted), row.Emitted)
}

func prefixText(prefix string) string {
	if prefix == "" {
		return "is not set"
	}
	return "is " + prefix
}

// checkMessagesKept refuses a recovery that continues without undelivered messages, unless an
// operator has given them up. The slot may be lost after the recovery was marked for another
// reason.
func (a *Acquirer) checkMessagesKept(row *checkpoint.Row, state slot.State) error {
	if row.Emitted == "" || row.Position.FlushLSN == 0 {
		return nil
	}
	return a.messagesLost(row, state, "the slot is lost, and a recovery is marked")
}

// messagesLost is the end of a relay at a gap in the log.
func (a *Acquirer) messagesLost(row *checkpoint.Row, state slot.State, gap string) error {
	return operator.Needed("slot %s cannot bring every event: %s. %s with the prefix %s (RELAY_EMITTED) may be "+
		"lost, because no table has them. Run relay recover: it shows the situation, and with --yes the relay "+
		"publishes from table %s the rows that may be missing, and continues without the messages",
		a.Slot, gap, recovery.MayBeLostOf("Messages", row, state), cmp.Or(row.Emitted, a.Emitted), a.Table.String())
}
