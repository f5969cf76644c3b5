package slot

import "fmt"

// keepLimitSQL is max_slot_wal_keep_size in bytes, or -1 without a limit.
const keepLimitSQL = `pg_size_bytes(current_setting('max_slot_wal_keep_size'))`

// Danger returns a warning with the remedy if the server may soon remove log that the slot needs,
// or an empty string.
//
// A server with max_slot_wal_keep_size invalidates the slot once the slot retains more. A server
// without it retains all of the log until the disk is full. Its wal_status becomes extended at
// max_wal_size. https://www.postgresql.org/docs/current/view-pg-replication-slots.html
func (s State) Danger() string {
	return danger(s.WALStatus, s.RetainedWAL, s.SafeWALSize, s.KeepLimit)
}

// Danger returns [State.Danger].
func (o Observation) Danger() string {
	return danger(o.WALStatus, o.RetainedWAL, o.SafeWALSize, o.KeepLimit)
}

func danger(walStatus string, retained, safe, limit int64) string {
	const remedy = "find the cause of the delayed delivery (relay_events_retried_total, the relay's log) or the " +
		"transaction that has been open for long (pg_stat_activity)"
	switch {
	case walStatus == "lost":
		return "the server has removed log that the slot needs: the relay publishes from the table the events that " +
			"are missing"
	case walStatus == "unreserved":
		return fmt.Sprintf("the slot keeps %d bytes of log, more than max_slot_wal_keep_size: the server "+
			"invalidates it at its next checkpoint: raise max_slot_wal_keep_size now, and %s", retained, remedy)
	case isShort(safe, limit):
		return fmt.Sprintf("the slot keeps %d bytes of log, and is lost after %d more: raise max_slot_wal_keep_size "+
			"(now %d bytes), and %s", retained, safe, limit, remedy)
	case walStatus == "extended":
		return fmt.Sprintf("the slot keeps %d bytes of log on the database's disk, more than max_wal_size: watch "+
			"the free space, and %s", retained, remedy)
	}
	return ""
}

// IsEndangered reports whether the server may soon invalidate the slot because of the log that it
// retains.
func (s State) IsEndangered() bool {
	return s.WALStatus == "unreserved" || isShort(s.SafeWALSize, s.KeepLimit)
}

// isShort reports whether less than half of max_slot_wal_keep_size is left.
func isShort(safe, limit int64) bool { return limit >= 0 && safe >= 0 && safe < limit/2 }
