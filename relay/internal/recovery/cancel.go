package recovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// Withdrawal says what a request that can be withdrawn was.
type Withdrawal string

// A first start leaves no checkpoint behind, so that RELAY_START decides again. A mark leaves the
// slot where it was.
const (
	FirstStart Withdrawal = "first start"
	Mark       Withdrawal = "mark"
)

// Requested reads what a cancellation goes by. Gap is that of the slot without the recovery. It
// needs no column of the outbox table, as one may be what a request is stuck at.
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

// Cancelable returns what of s can be withdrawn without losing an event, or an error that says why
// nothing can.
func (o Operator) Cancelable(s Situation) (Withdrawal, error) {
	switch {
	case s.Row == nil || s.Row.Recovery == nil:
		return "", fmt.Errorf("slot %s has no recovery that could be withdrawn: none is marked or under way", o.Slot)
	case s.Row.Horizon == "" || s.Row.Horizon == NothingDelivered: // so only the request says which rows count as delivered
		return FirstStart, nil
	case s.Row.Recovery.IsMarked() && s.Row.Position.FlushLSN != 0 && s.Gap == "":
		return Mark, nil
	}
	return "", fmt.Errorf("the recovery of slot %s cannot be withdrawn, because events that only the table has would be lost: %s. If it cannot "+
		"proceed, relay check says why; relay recover --yes begins it again", o.Slot, cmp.Or(s.Gap, "a relay has begun with it"))
}

// Cancel withdraws the request. A relay that runs notices it, and begins again.
func (o Operator) Cancel(ctx context.Context, s Situation, w Withdrawal) error {
	store, withdraw := checkpoint.NewStore(o.Pool, o.Slot), (*checkpoint.Store).WithdrawRecovery
	if w == FirstStart {
		withdraw = (*checkpoint.Store).Forget
	}
	err := withdraw(store, ctx, s.Row.Epoch)
	if errors.Is(err, slot.ErrFenced) {
		return fmt.Errorf("nothing is withdrawn: a relay took slot %s meanwhile, look again", o.Slot)
	}
	return err
}
