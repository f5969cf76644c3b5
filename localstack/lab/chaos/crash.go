package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// crashPoints kill a relay at its durable steps. Those that write wait for a lock that the run holds on their table, and the
// relay is killed while it waits: then the write is discarded, or is done and nobody knows. The others are seen in the
// checkpoint row, in the slot or at the broker.
var crashPoints = []fault{
	{name: "crash: first row", weight: 1, repeats: true, losesLog: true, do: atWrite(firstStart, checkpoints, "INSERT INTO relay_checkpoints")},
	{name: "crash: claim", weight: 2, repeats: true, do: atWrite(anew, checkpoints, "SET epoch = c.epoch + 1")},
	{name: "crash: begin recovery", weight: 2, repeats: true, losesLog: true, do: atWrite(withoutSlot, checkpoints, "SET epoch = epoch + 1")},
	{name: "crash: slot made", weight: 2, repeats: true, losesLog: true, do: atWrite(withoutSlot, checkpoints, "SET epoch = c.epoch + 1")},
	{name: "crash: end of recovery stored", weight: 2, repeats: true, losesLog: true, do: atWrite(withoutSlot, checkpoints, "SET recover_to = $4")},
	{name: "crash: recovery finished", weight: 2, repeats: true, losesLog: true, do: atWrite(withoutSlot, checkpoints, "SET horizon = recover_to")},
	{name: "crash: save", weight: 4, repeats: true, do: atWrite(asItIs, checkpoints, "SET flush_lsn = $4")},
	{name: "crash: park", weight: 2, repeats: true, do: atWrite(withPoison, deadLetters, "INSERT INTO outbox_dead_letters")},
	{name: "crash: redriven", weight: 2, repeats: true, do: atWrite(withRedrive, deadLetters, "SET state = 'redriven'")},
	{name: "crash: page of a replay sent", weight: 3, repeats: true, do: atWrite(withReplay, replays, "SET passed_seq = $5")},
	{name: "crash: replay done", weight: 2, repeats: true, do: atWrite(withReplay, replays, "SET state = 'done'")},
	{name: "crash: slot in the making", weight: 2, repeats: true, losesLog: true, do: whileSlotIsMade},
	{name: "crash: saved, not confirmed", weight: 3, repeats: true, do: atState(asItIs, `c.flush_lsn > s.confirmed_flush_lsn`)},
	{name: "crash: recovery marked beside a slot", weight: 1, repeats: true, skips: true, losesLog: true, do: atState(changedPublication, `c.recover_to IS NULL AND c.recover_from IS NOT NULL AND s.slot_name IS NOT NULL`)},
	{name: "crash: snapshot stored beside a slot", weight: 2, repeats: true, skips: true, losesLog: true, do: atWrite(changedPublication, checkpoints, "recover_until = $5")},
	{name: "crash: recovery finished beside a slot", weight: 2, repeats: true, skips: true, losesLog: true, do: atWrite(changedPublication, checkpoints, "SET horizon = recover_to")},
	{name: "crash: inside a transaction", weight: 3, repeats: true, do: slowly(atState(withLargeTransaction, `c.tx_delivered > 0`))},
	{name: "crash: inside recovery", weight: 2, repeats: true, losesLog: true, do: slowly(atState(withMuchToRecover, `c.recovered_seq > 0 AND c.recover_to IS NOT NULL`))},
	{name: "crash: accepted, not answered", weight: 3, repeats: true, do: whenAccepted},
}

const (
	checkpoints = "relay_checkpoints"
	deadLetters = "outbox_dead_letters"
	replays     = "outbox_replays"
	// crashTimeout bounds the wait for the step. One that does not come is noted as missed.
	crashTimeout = 6 * time.Second
)

// prepare brings the run to where the step will come.
type prepare func(context.Context, *act) error

func asItIs(context.Context, *act) error { return nil }

func anew(ctx context.Context, a *act) error { return killAll(ctx, a) }

func withoutSlot(ctx context.Context, a *act) error { return whileDown(dropSlot)(ctx, a) }

// withMuchToRecover leaves more than one page of rows to a relay without slot.
func withMuchToRecover(ctx context.Context, a *act) error {
	return whileDown(func(ctx context.Context, a *act) error {
		if err := dropSlot(ctx, a); err != nil {
			return err
		}
		return withLargeTransaction(ctx, a)
	})(ctx, a)
}

// firstStart has the relays know nothing: everything in the table comes again.
func firstStart(ctx context.Context, a *act) error {
	return whileDown(func(ctx context.Context, a *act) error {
		if err := dropSlot(ctx, a); err != nil {
			return err
		}
		return deleteRow(ctx, a)
	})(ctx, a)
}

func changedPublication(ctx context.Context, a *act) error {
	return publicationFor(`ALTER PUBLICATION outbox_pub SET (publish = 'delete')`, `ALTER PUBLICATION outbox_pub SET (publish = 'insert')`)(ctx, a)
}

// withPoison commits an event that is parked, whatever the load is made of.
func withPoison(ctx context.Context, a *act) error {
	o, err := a.writeOpenWith(ctx, func(e *checker.Event) { e.Type, e.Poison, e.Mendable = refusedType, true, true })
	if o != nil {
		o.commit(ctx)
	}
	return err
}

// withRedrive has a dead letter sent once more that is taken by now.
func withRedrive(ctx context.Context, a *act) error {
	if err := withPoison(ctx, a); err != nil {
		return err
	}
	await(ctx, crashTimeout, func() bool {
		var parked bool
		err := a.admin.QueryRow(ctx, `SELECT EXISTS (SELECT FROM outbox_dead_letters WHERE state = 'parked')`).Scan(&parked)
		return err == nil && parked
	})
	a.mendDestinations()
	_, err := a.redrive(ctx, "--all")
	return err
}

// withReplay has everything that is delivered sent once more, unless a replay is under way.
func withReplay(ctx context.Context, a *act) error {
	_, err := a.replay(ctx, "--until", time.Now().Format(time.RFC3339Nano), "--rate", "1000", "--yes")
	return err
}

func withLargeTransaction(ctx context.Context, a *act) error {
	w := &writer{run: a.run, random: a.random}
	w.transaction(ctx, 500, a.aggregates()[:1])
	return nil
}

// slowly has the broker take its time.
func slowly(do func(context.Context, *act) error) func(context.Context, *act) error {
	return func(ctx context.Context, a *act) error {
		slow := a.broker.Script(fakeaws.Match{}, fakeaws.Delay(20*time.Millisecond))
		defer slow.Clear()
		return do(ctx, a)
	}
}

// atState kills the holder as soon as checkpoint row and slot are in a state.
func atState(prepare prepare, condition string) func(context.Context, *act) error {
	query := `SELECT EXISTS (SELECT FROM relay_checkpoints c LEFT JOIN pg_replication_slots s USING (slot_name) WHERE ` + condition + `)`
	return func(ctx context.Context, a *act) error {
		if err := prepare(ctx, a); err != nil {
			return err
		}
		hit := await(ctx, crashTimeout, func() bool {
			var reached bool
			return a.admin.QueryRow(ctx, query).Scan(&reached) == nil && reached
		})
		return a.crash(ctx, a.fleet.holder(), hit)
	}
}

// crash kills p if the step was reached, and starts it again.
func (a *act) crash(ctx context.Context, p *relay, hit bool) error {
	if !hit {
		a.note = missed
		return a.fleet.startAll()
	}
	a.fleet.kill(p)
	pause(ctx, a.within(300*time.Millisecond))
	return a.fleet.startAll()
}

// whileSlotIsMade kills the relay that waits for a transaction to end before its slot is there.
func whileSlotIsMade(ctx context.Context, a *act) error {
	o, err := a.writeOpen(ctx)
	if err != nil || o == nil {
		return err
	}
	if err := withoutSlot(ctx, a); err != nil {
		return err
	}
	hit := await(ctx, crashTimeout, func() bool {
		var making bool
		err := a.admin.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1 AND confirmed_flush_lsn IS NULL)`, a.slot).Scan(&making)
		return err == nil && making
	})
	err = a.crash(ctx, a.fleet.holder(), hit)
	pause(ctx, a.within(500*time.Millisecond))
	o.commit(ctx)
	return err
}

// whenAccepted kills the holder when a request is accepted and not answered.
func whenAccepted(ctx context.Context, a *act) error {
	silent := a.broker.Script(fakeaws.Match{Entry: func(*fakeaws.Message) bool { return true }, Times: 1}, fakeaws.HangAfterAccept())
	defer silent.Clear()
	hit := await(ctx, crashTimeout, func() bool { return silent.Hits() > 0 })
	return a.crash(ctx, a.fleet.holder(), hit)
}

// atWrite kills the relay that is about to run a statement.
func atWrite(prepare prepare, table, statement string) func(context.Context, *act) error {
	return func(ctx context.Context, a *act) error {
		t, err := newTrap(ctx, a, table)
		if err != nil {
			return err
		}
		defer t.close(ctx)
		prepared := make(chan struct{})
		var prepareErr error
		go func() {
			defer close(prepared)
			prepareErr = prepare(ctx, a)
		}()
		caught, err := t.catch(ctx, statement, prepared)
		if caught != nil {
			err = a.killWaiting(ctx, caught)
		}
		t.release(ctx) // prepare may wait for the lock too
		if <-prepared; err != nil || prepareErr != nil {
			return fmt.Errorf("wait for %s: %w", statement, errors.Join(err, prepareErr))
		}
		return a.crash(ctx, nil, caught != nil)
	}
}

// killWaiting kills the relay whose statement waits, and every other time the statement too.
func (a *act) killWaiting(ctx context.Context, w *waiting) error {
	var place int
	if _, err := fmt.Sscanf(w.role, relayRole, &place); err != nil {
		return err
	}
	a.fleet.kill(a.fleet.at(place))
	if a.random.IntN(2) > 0 {
		return nil
	}
	return a.exec(ctx, `SELECT pg_terminate_backend($1, 1000)`, w.pid)
}

// matches compares without regard to line breaks.
func matches(query, statement string) bool {
	return strings.Contains(strings.Join(strings.Fields(query), " "), statement)
}
