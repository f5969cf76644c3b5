package chaos

import (
	"context"
	"strings"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// recoveredByHand is a recovery that a person asks for, of relays that run or that have halted.
const recoveredByHand = "operator: recovered by hand"

// halted is what a relay says that ends because its slot is lost and a person is to decide.
const halted = "RELAY_ON_SLOT_LOSS=halt stops the relay here"

// noRecovery is what the command says where a relay was faster, or nothing was ever delivered.
func noRecovery(said string) bool {
	return strings.Contains(said, "nothing is marked") || strings.Contains(said, "has no checkpoint")
}

func recoverByHand(ctx context.Context, a *act) error {
	said, err := a.command(ctx, "recover", "--yes")
	if noRecovery(said) {
		a.note = missed
		return nil
	}
	if err != nil {
		return err
	}
	a.awaitSlotMade(ctx)
	return nil
}

// awaitSlotMade waits until it is known which rows come again. They may have come at any time before.
func (r *run) awaitSlotMade(ctx context.Context) {
	await(ctx, crashTimeout, func() bool {
		var made bool
		err := r.admin.QueryRow(ctx, `SELECT NOT EXISTS (SELECT FROM relay_checkpoints WHERE recover_from IS NOT NULL AND recover_to IS NULL)`).Scan(&made)
		return err == nil && made
	})
}

// recoverHalted does what a relay that halted asks for, and has start start it again. What fails, because the server is away,
// say, is tried again when the relay has halted again.
func (r *run) recoverHalted(start func()) {
	ended := r.recorder.began(checker.Fault{Kind: recoveredByHand, Repeats: true})
	_, err := r.command(context.Background(), "recover", "--yes")
	start()
	if err != nil {
		ended(missed)
		return
	}
	r.awaitSlotMade(context.Background())
	ended(nil)
}
