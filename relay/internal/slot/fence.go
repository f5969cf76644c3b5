package slot

import (
	"errors"
	"sync"
	"time"
)

// ErrFenced means that this relay no longer holds the slot, or that another relay has raised the
// epoch. The relay must stop publishing, discard its open events and continue as a standby.
var ErrFenced = errors.New("no longer the holder of the replication slot")

// ErrLeaseExpired means that the relay last confirmed the fence too long ago: another relay may
// hold the slot by now.
var ErrLeaseExpired = errors.New("the lease has expired: the relay could not confirm for too long that it still " +
	"holds the replication slot")

// Fence proves that a statement comes from the one relay that holds the slot. The relay's walsender
// is the active process of the slot, and no other relay has raised the epoch since.
type Fence struct {
	Slot  string
	Epoch int64
	PID   uint32 // of the walsender behind this relay's replication connection
}

// FenceSQL is a condition on a checkpoint row named c. It is true only for the holder of the slot.
// Its arguments are [Fence.Args].
const FenceSQL = `c.slot_name = $1 AND c.epoch = $2 AND EXISTS (
	SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND s.active_pid = $3)`

// Args returns the arguments $1 to $3 of [FenceSQL], followed by more.
func (f Fence) Args(more ...any) []any {
	return append([]any{f.Slot, f.Epoch, int64(f.PID)}, more...)
}

// UnclaimedSQL is [FenceSQL] for a holder whose slot may be free: no other relay has acquired it
// since. It is enough for what stays true whoever holds the slot, such as that an event was
// delivered.
const UnclaimedSQL = `c.slot_name = $1 AND c.epoch = $2 AND EXISTS (
	SELECT FROM pg_replication_slots s WHERE s.slot_name = c.slot_name AND coalesce(s.active_pid, $3) = $3)`

// Lease bounds how long a holder may rely on the fence that it last confirmed. Postgres frees the
// slot of a walsender that has received nothing for wal_sender_timeout. A holder that was frozen or
// cut off stops publishing at three quarters of that time.
type Lease struct {
	length time.Duration

	mu    sync.Mutex
	start time.Time // the lease counts from it
}

// NewLease returns a Lease that has never been renewed, for a slot whose walsender has this
// wal_sender_timeout.
func NewLease(senderTimeout time.Duration) *Lease {
	return &Lease{length: senderTimeout * 3 / 4}
}

// Renew extends the lease. checkedAt is the time before the query that confirmed the fence.
// statusAt is the time of the last status update to the walsender. The lease counts from the
// earlier of the two, because the walsender's timeout started there even if the fence was still
// confirmed.
func (l *Lease) Renew(checkedAt, statusAt time.Time) {
	start := checkedAt
	if statusAt.Before(start) {
		start = statusAt
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if start.After(l.start) {
		l.start = start
	}
}

// MayPublish returns [ErrLeaseExpired] if the lease was renewed too long ago by either clock. The
// monotonic clock does not advance while a machine sleeps, and the wall clock can be set.
func (l *Lease) MayPublish() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	elapsed := max(now.Sub(l.start), now.Round(0).Sub(l.start.Round(0)))
	if l.start.IsZero() || elapsed > l.length {
		return ErrLeaseExpired
	}
	return nil
}
