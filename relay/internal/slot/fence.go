package slot

import (
	"errors"
	"sync"
	"time"
)

// ErrFenced says that this relay no longer holds the slot, or that another one has raised the epoch since: it must stop
// publishing, forget what it has open and begin again as a standby.
var ErrFenced = errors.New("no longer the holder of the replication slot")

// ErrLeaseOver says that the slot could not be seen as held for so long that another relay may hold it by now.
var ErrLeaseOver = errors.New("could not see for too long whether the replication slot is still held")

// Fence proves that a statement comes from the one relay that holds the slot: its walsender is the slot's active
// process, and nobody has raised the epoch since.
type Fence struct {
	Slot  string
	Epoch int64
	PID   uint32 // of the walsender behind this relay's replication connection
}

// FenceSQL is a condition on a checkpoint row named c that holds only for the holder of the slot. It takes [Fence.Args].
const FenceSQL = `c.slot_name = $1 AND c.epoch = $2 AND EXISTS (
	SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND s.active_pid = $3)`

// Args returns the arguments $1 to $3 of [FenceSQL], followed by more.
func (f Fence) Args(more ...any) []any {
	return append([]any{f.Slot, f.Epoch, int64(f.PID)}, more...)
}

// UnclaimedSQL is [FenceSQL] for a holder whose slot may be free: no other relay has acquired it since.
// It is enough for what stays true whoever holds the slot, such as that an event was delivered.
const UnclaimedSQL = `c.slot_name = $1 AND c.epoch = $2 AND EXISTS (
	SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND coalesce(s.active_pid, $3) = $3)`

// Lease bounds how long a holder may act on the fence it last saw. Postgres frees the slot of a walsender that has heard nothing for
// wal_sender_timeout; a holder that was frozen or cut off stops by itself at three quarters of it.
type Lease struct {
	length time.Duration

	mu   sync.Mutex
	seen time.Time
}

// NewLease returns a Lease that was never seen to hold, for slots whose walsender has this wal_sender_timeout.
func NewLease(senderTimeout time.Duration) *Lease {
	return &Lease{length: senderTimeout * 3 / 4}
}

// Saw takes the moment before the statement was sent that found the fence to hold, and when the walsender was last told that this
// relay lives: its time began then, while the fence could still be seen.
func (l *Lease) Saw(before, told time.Time) {
	if told.Before(before) {
		before = told
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if before.After(l.seen) {
		l.seen = before
	}
}

// MayPublish returns [ErrLeaseOver] if the fence was last seen too long ago, by the monotonic clock or by the wall clock:
// the first stands still while a machine sleeps, the second can be set.
func (l *Lease) MayPublish() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	elapsed := max(now.Sub(l.seen), now.Round(0).Sub(l.seen.Round(0)))
	if l.seen.IsZero() || elapsed > l.length {
		return ErrLeaseOver
	}
	return nil
}
