package recovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// Withdrawal is the kind of a request that can be withdrawn.
type Withdrawal string

// Withdrawing a first start deletes the checkpoint row, so that RELAY_START decides again.
// Withdrawing a mark leaves the slot at its position.
const (
	FirstStart Withdrawal = "first start"
	Mark       Withdrawal = "mark"
)

// Requested reads the state on which a cancellation depends. Situation.Gap is the gap that the slot
// has without the recovery. Requested reads no column of the outbox table, because a missing column
// may be the reason why the request is stuck.
func (o Operator) Requested(ctx context.Context) (Situation, error) {
	var s Situation
	var err error
	if s.Slot, err = slot.LookUp(ctx, o.Pool, o.Slot); err != nil {
		return s, err
	}
	if s.Row, err = checkpoint.NewStore(o.Pool, o.Slot).Load(ctx); err != nil || s.Row == nil {
		return s, err
	}
	fingerprint, err := slot.Fingerprint(ctx, o.Pool, o.Publication)
	s.Gap = Gap(s.Row, s.Slot, fingerprint)
	return s, err
}

// Cancelable returns the request that can be withdrawn without losing an event. If there is none,
// the error says why.
func (o Operator) Cancelable(s Situation) (Withdrawal, error) {
	switch {
	case s.Row == nil || s.Row.Recovery == nil:
		return "", fmt.Errorf("slot %s has no recovery that could be withdrawn: none is marked or under way", o.Slot)
	// The rows that count as delivered follow from the request alone.
	case s.Row.Horizon == "" || s.Row.Horizon == NothingDelivered:
		return FirstStart, nil
	case s.Row.Recovery.IsMarked() && s.Row.Position.FlushLSN != 0 && s.Gap == "":
		return Mark, nil
	}
	return "", fmt.Errorf("the recovery of slot %s cannot be withdrawn, because events that only the table has would "+
		"be lost: %s. If the recovery does not proceed, relay check says why, and relay recover --yes begins it again",
		o.Slot, cmp.Or(s.Gap, "a relay has begun with it"))
}

// Cancel withdraws the request. A running relay notices it and begins a new session.
func (o Operator) Cancel(ctx context.Context, s Situation, w Withdrawal) error {
	store, withdraw := checkpoint.NewStore(o.Pool, o.Slot), (*checkpoint.Store).WithdrawRecovery
	if w == FirstStart {
		withdraw = (*checkpoint.Store).Forget
	}
	err := withdraw(store, ctx, s.Row.Epoch)
	if errors.Is(err, slot.ErrFenced) {
		return fmt.Errorf("nothing is withdrawn, because a relay acquired slot %s in the meantime: run the command "+
			"again", o.Slot)
	}
	return err
}
