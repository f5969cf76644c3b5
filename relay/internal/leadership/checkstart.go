package leadership

import (
	"context"
	"errors"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// CheckStart returns the [*operator.NeededError] with which the start would end, or nil.
func (a *Acquirer) CheckStart(ctx context.Context) error {
	// The slot is read before the row. A relay that holds the slot writes a position to the row
	// before it confirms it, so only a gap shows a slot that is ahead.
	state, err := slot.LookUp(ctx, a.Pool, a.Slot)
	if err != nil {
		return err
	}
	row, err := a.Store.Load(ctx)
	if err != nil {
		return err
	}
	system, err := slot.SystemIdentifier(ctx, a.Pool)
	if err != nil {
		return err
	}
	if err := errors.Join(a.checkRow(row, system), a.CheckTables(ctx, row)); err != nil {
		return err
	}
	if row == nil {
		_, err = a.firstRows(ctx)
		return err
	}
	return a.checkGap(ctx, row, state)
}

// checkGap judges a gap as [Acquirer.Acquire] does, without the slot.
func (a *Acquirer) checkGap(ctx context.Context, row *checkpoint.Row, state slot.State) error {
	switch {
	case row.Recovery.IsMarked() && state.IsIntact():
		return nil
	case row.Recovery.IsMarked():
		return a.checkMessagesKept(row, state)
	case state.Active && !recovery.LosesLog(row, state):
		return nil // the relay that holds the slot notices a changed publication
	case !state.Exists:
		// Another relay may have created it after the first look.
		if again, err := slot.LookUp(ctx, a.Pool, a.Slot); err != nil || again.Exists {
			return err
		}
	}
	fingerprint, err := slot.Fingerprint(ctx, a.Pool, a.publicationOf(row))
	if err != nil {
		return err
	}
	return a.refuseGap(row, state, recovery.Gap(row, state, fingerprint))
}
