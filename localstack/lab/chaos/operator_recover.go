package chaos

import (
	"context"
	"strings"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// manualRecovery is a recovery by an operator, of relays that run or have halted.
const manualRecovery = "operator: manual recovery"

// halted is the message of a relay that ends because its slot is lost and an operator has to
// decide.
const halted = "RELAY_ON_SLOT_LOSS=halt stops the relay here"

// noRecovery reports whether the command found nothing to recover, because a relay was faster or no
// event was ever delivered.
func noRecovery(said string) bool {
	return strings.Contains(said, "nothing is marked") || strings.Contains(said, "has no checkpoint")
}

func recoverManually(ctx context.Context, a *act) error {
	said, err := a.command(ctx, "recover", "--yes")
	if noRecovery(said) {
		a.note = missed
		return nil
	}
	if err != nil {
		return err
	}
	a.awaitRecoveryRange(ctx)
	return nil
}

// awaitRecoveryRange waits until the range of rows that a recovery repeats is stored. Rows may have
// arrived at any time before.
func (r *run) awaitRecoveryRange(ctx context.Context) {
	await(ctx, crashTimeout, func() bool {
		var stored bool
		err := r.admin.QueryRow(ctx, `SELECT NOT EXISTS (SELECT FROM relay_checkpoints
			WHERE recover_from IS NOT NULL AND recover_to IS NULL)`).Scan(&stored)
		return err == nil && stored
	})
}

// recoverHalted runs the recovery that a halted relay asks for, and calls start. If the command
// fails, for example because the server is down, it runs again after the relay has halted again.
func (r *run) recoverHalted(start func()) {
	ended := r.recorder.began(checker.Fault{Kind: manualRecovery, Repeats: true})
	_, err := r.command(context.Background(), "recover", "--yes")
	start()
	if err != nil {
		ended(missed)
		return
	}
	r.awaitRecoveryRange(context.Background())
	ended(nil)
}

// acceptLossCommand is the command that a relay asks for when it ends at a gap of a table that does
// not show which events are missing.
const acceptLossCommand = "relay recover --accept-loss"

// acceptLoss runs that command. The slot is intact, so it brings every event nevertheless, and the
// checker counts each one that is missing.
func (a *act) acceptLoss(ctx context.Context) error {
	var err error
	await(ctx, operatorTimeout, func() bool {
		_, err = a.command(ctx, "recover", "--accept-loss", "--yes") // fails if a relay raises the epoch
		return err == nil
	})
	if err != nil {
		return err
	}
	a.awaitRecoveryRange(ctx)
	return nil
}
