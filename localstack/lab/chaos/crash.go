package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// crashPoints kill a relay at its durable steps. For a step that writes, the run holds a lock on
// the table and kills the relay while its statement waits. The write is then discarded, or
// completes without a relay that knows of it. The other steps show in the checkpoint row, in the
// slot or at the broker.
var crashPoints = []fault{
	{
		name: "crash: first row", weight: 1, repeats: true, losesLog: true,
		do: atWrite(firstStart, checkpoints, "INSERT INTO relay_checkpoints"),
	},
	{name: "crash: claim", weight: 2, repeats: true, do: atWrite(afterKillAll, checkpoints, "SET epoch = c.epoch + 1")},
	{
		name: "crash: begin recovery", weight: 2, repeats: true, losesLog: true,
		do: atWrite(withoutSlot, checkpoints, "SET epoch = epoch + 1"),
	},
	{
		name: "crash: slot created", weight: 2, repeats: true, losesLog: true,
		do: atWrite(withoutSlot, checkpoints, "SET epoch = c.epoch + 1"),
	},
	{
		name: "crash: end of recovery stored", weight: 2, repeats: true, losesLog: true,
		do: atWrite(withoutSlot, checkpoints, "SET recover_to = $4"),
	},
	{
		name: "crash: recovery finished", weight: 2, repeats: true, losesLog: true,
		do: atWrite(withoutSlot, checkpoints, "SET horizon = recover_to"),
	},
	{
		name: "crash: save", weight: 4, repeats: true,
		do: atWrite(asIs, checkpoints, "SET flush_lsn = greatest(c.flush_lsn, $4)"),
	},
	{
		name: "crash: park", weight: 2, repeats: true, needs: refusesEvents,
		do: atWrite(withPoison, deadLetters, "INSERT INTO outbox_dead_letters"),
	},
	{
		name: "crash: redriven", weight: 2, repeats: true, needs: refusesEvents,
		do: atWrite(withRedrive, deadLetters, "SET state = 'redriven'"),
	},
	{
		name: "crash: page of a replay sent", weight: 3, repeats: true, needs: replaysRows,
		do: atWrite(withReplay, replays, "SET passed_seq = $5"),
	},
	{
		name: "crash: replay done", weight: 2, repeats: true, needs: replaysRows,
		do: atWrite(withReplay, replays, "SET state = 'done'"),
	},
	{name: "crash: slot in creation", weight: 2, repeats: true, losesLog: true, do: whileSlotIsCreated},
	{
		name: "crash: saved, not confirmed", weight: 3, repeats: true,
		do: atState(asIs, `c.flush_lsn > s.confirmed_flush_lsn`),
	},
	{
		name: "crash: recovery marked, slot kept", weight: 1, repeats: true, skips: true, losesLog: true,
		do: atState(changedPublication,
			`c.recover_to IS NULL AND c.recover_from IS NOT NULL AND s.slot_name IS NOT NULL`),
	},
	{
		name: "crash: snapshot stored, slot kept", weight: 2, repeats: true, skips: true, losesLog: true,
		do: atWrite(changedPublication, checkpoints, "recover_until = $5"),
	},
	{
		name: "crash: recovery finished, slot kept", weight: 2, repeats: true, skips: true, losesLog: true,
		do: atWrite(changedPublication, checkpoints, "SET horizon = recover_to"),
	},
	{
		name: "crash: deferral stored", weight: 3, repeats: true, needs: defers,
		do: duringOutage(atWrite(asIs, deferrals, "INSERT INTO outbox_deferrals")),
	},
	{
		name: "crash: pass stored", weight: 3, repeats: true, needs: defers,
		do: afterOutage(atWrite(asIs, deferrals, "UPDATE outbox_deferrals d SET known")),
	},
	{
		name: "crash: stream joined", weight: 3, repeats: true, needs: defers,
		do: afterOutage(atWrite(asIs, deferrals, "unguarded AS")),
	},
	{
		name: "crash: inside a transaction", weight: 3, repeats: true,
		do: slowly(atState(withLargeTransaction, `c.tx_delivered > 0`)),
	},
	{
		name: "crash: inside recovery", weight: 2, repeats: true, losesLog: true,
		do: slowly(atState(withMuchToRecover, `c.recovered_seq > 0 AND c.recover_to IS NOT NULL`)),
	},
	{name: "crash: accepted, not answered", weight: 3, repeats: true, do: whenAccepted},
}

const (
	checkpoints = "relay_checkpoints"
	deadLetters = "outbox_dead_letters"
	replays     = "outbox_replays"
	deferrals   = "outbox_deferrals"
	// crashTimeout bounds the wait for the step. A step that does not happen is noted as missed.
	crashTimeout = 6 * time.Second
)

// atState kills the holder as soon as the checkpoint row and the slot meet the condition.
func atState(prepare prepare, condition string) func(context.Context, *act) error {
	query := `SELECT EXISTS (SELECT FROM relay_checkpoints c LEFT JOIN pg_replication_slots s USING (slot_name)
		WHERE ` + condition + `)`
	return func(ctx context.Context, a *act) error {
		if err := prepare(ctx, a); err != nil {
			return err
		}
		hit := await(ctx, crashTimeout, func() bool {
			var reached bool
			return a.admin.QueryRow(ctx, query).Scan(&reached) == nil && reached
		})
		return a.crash(ctx, a.relays.holder(), hit)
	}
}

// crash kills p if the step was reached, and starts all relays again.
func (a *act) crash(ctx context.Context, p *relay, hit bool) error {
	if !hit {
		a.note = missed
		return a.relays.startAll()
	}
	a.relays.kill(p)
	pause(ctx, a.within(300*time.Millisecond))
	return a.relays.startAll()
}

// whileSlotIsCreated kills the relay that waits for a transaction before its slot is created.
func whileSlotIsCreated(ctx context.Context, a *act) error {
	o, err := a.writeOpen(ctx)
	if err != nil || o == nil {
		return err
	}
	if err := withoutSlot(ctx, a); err != nil {
		return err
	}
	hit := await(ctx, crashTimeout, func() bool {
		var creating bool
		err := a.admin.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_replication_slots
			WHERE slot_name = $1 AND confirmed_flush_lsn IS NULL)`, a.slot).Scan(&creating)
		return err == nil && creating
	})
	err = a.crash(ctx, a.relays.holder(), hit)
	pause(ctx, a.within(500*time.Millisecond))
	o.commit(ctx)
	return err
}

// whenAccepted kills the holder when the broker has accepted a request and not answered it.
func whenAccepted(ctx context.Context, a *act) error {
	unanswered := a.broker.Script(fakeaws.Match{Entry: func(*fakeaws.Message) bool {
		return true
	}, Times: 1}, fakeaws.HangAfterAccept())
	defer unanswered.Clear()
	hit := await(ctx, crashTimeout, func() bool { return unanswered.Hits() > 0 })
	return a.crash(ctx, a.relays.holder(), hit)
}

// atWrite kills the relay whose statement waits for the lock.
func atWrite(prepare prepare, table, statement string) func(context.Context, *act) error {
	return func(ctx context.Context, a *act) error {
		f, err := newFailpoint(ctx, a, table)
		if err != nil {
			return err
		}
		defer f.close(ctx)
		prepared := make(chan struct{})
		var prepareErr error
		go func() {
			defer close(prepared)
			prepareErr = prepare(ctx, a)
		}()
		caught, err := f.catch(ctx, statement, prepared)
		if caught != nil {
			err = a.killWaiting(ctx, caught)
		}
		f.release(ctx) // prepare may wait for the lock too
		if <-prepared; err != nil || prepareErr != nil {
			return fmt.Errorf("wait for %s: %w", statement, errors.Join(err, prepareErr))
		}
		return a.crash(ctx, nil, caught != nil)
	}
}

// killWaiting kills the relay whose statement waits, and in half of the cases its backend too.
func (a *act) killWaiting(ctx context.Context, w *waiting) error {
	var place int
	if _, err := fmt.Sscanf(w.role, relayRole, &place); err != nil {
		return err
	}
	a.relays.kill(a.relays.at(place))
	if a.random.IntN(2) > 0 {
		return nil
	}
	return a.exec(ctx, `SELECT pg_terminate_backend($1, 1000)`, w.pid)
}

// matches reports whether query contains statement. It ignores line breaks.
func matches(query, statement string) bool {
	return strings.Contains(strings.Join(strings.Fields(query), " "), statement)
}
