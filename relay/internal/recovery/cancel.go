package recovery

import (
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

// Requested reads what a cancellation goes by: it needs no column of the outbox table, as one may
// be what a request is stuck at.
func (o Operator) Requested(ctx context.Context) (Situation, error) {
	var s Situation
	var err error
	if s.Slot, err = slot.LookUp(ctx, o.Pool, o.Slot); err != nil {
		return s, err
	}
	s.Row, err = checkpoint.NewStore(o.Pool, o.Slot).Load(ctx)
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
	case s.Row.Recovery.To == "" && s.Row.Position.FlushLSN != 0 && s.Slot.Exists && !s.Slot.Lost():
		return Mark, nil
	}
	return "", fmt.Errorf("the recovery of slot %s cannot be withdrawn: the slot does not bring every event, and those that only the table has "+
		"would be lost. If it cannot proceed, relay check says why; relay recover --yes begins it again", o.Slot)
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
