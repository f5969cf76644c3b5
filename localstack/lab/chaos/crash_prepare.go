package chaos

import (
	"context"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// prepare brings the run to a state in which the step happens.
type prepare func(context.Context, *act) error

func asIs(context.Context, *act) error { return nil }

func afterKillAll(ctx context.Context, a *act) error { return killAll(ctx, a) }

func withoutSlot(ctx context.Context, a *act) error { return whileDown(dropSlot)(ctx, a) }

// withMuchToRecover leaves more than one page of rows to a recovery after slot loss.
func withMuchToRecover(ctx context.Context, a *act) error {
	return whileDown(func(ctx context.Context, a *act) error {
		if err := dropSlot(ctx, a); err != nil {
			return err
		}
		return withLargeTransaction(ctx, a)
	})(ctx, a)
}

// parks excludes runs in which destinations may be unavailable without end.
func parks(p *Plan) bool { return p.ParkAfter > 0 }

// defers also excludes tables in which no event can wait.
func defers(p *Plan) bool { return parks(p) && keepsWaiting(p) }

// keepsWaiting excludes tables in which no event can wait.
func keepsWaiting(p *Plan) bool { return repairsRows(p) && !p.shape().keepsNone }

// repairsRows excludes tables that the relay reads only by the log.
func repairsRows(p *Plan) bool { return p.shape().repairs }

// refusesEvents excludes tables whose messages do not show the type of an event, by which the
// broker refuses it.
func refusesEvents(p *Plan) bool { return p.shape().isTyped() }

// duringOutage makes a destination refuse every request meanwhile.
func duringOutage(do func(context.Context, *act) error) func(context.Context, *act) error {
	return func(ctx context.Context, a *act) error {
		d := a.destinations[a.random.IntN(len(a.destinations))]
		outage := a.broker.Script(fakeaws.Match{Destination: nameOf(d.arn)}, fakeaws.Missing())
		defer outage.Clear()
		return do(ctx, a)
	}
}

// afterOutage makes a destination refuse every request before, until its events wait in the table.
func afterOutage(do func(context.Context, *act) error) func(context.Context, *act) error {
	return func(ctx context.Context, a *act) error {
		if err := unavailableForLong(ctx, a); err != nil {
			return err
		}
		return do(ctx, a)
	}
}

// firstStart removes slot and checkpoint row, so that the next relay publishes the whole table
// again.
func firstStart(ctx context.Context, a *act) error {
	return whileDown(func(ctx context.Context, a *act) error {
		if err := dropSlot(ctx, a); err != nil {
			return err
		}
		return deleteRow(ctx, a)
	})(ctx, a)
}

func changedPublication(ctx context.Context, a *act) error {
	return publicationFor(`ALTER PUBLICATION outbox_pub SET (publish = 'delete')`,
		`ALTER PUBLICATION outbox_pub SET (publish = 'insert')`)(ctx, a)
}

// withPoison commits an event that is parked, independent of the load.
func withPoison(ctx context.Context, a *act) error {
	o, err := a.writeOpenWith(ctx, func(e *checker.Event) { e.Type, e.Poison, e.Repairable = refusedType, true, true })
	if o != nil {
		o.commit(ctx)
	}
	return err
}

// withRedrive redrives a dead letter after its destination was repaired.
func withRedrive(ctx context.Context, a *act) error {
	if err := withPoison(ctx, a); err != nil {
		return err
	}
	await(ctx, crashTimeout, func() bool {
		var parked bool
		err := a.admin.QueryRow(ctx, `SELECT EXISTS (SELECT FROM outbox_dead_letters
			WHERE state = 'parked')`).Scan(&parked)
		return err == nil && parked
	})
	a.repairDestinations()
	_, err := a.redrive(ctx, "--all")
	return err
}

// withReplay replays every delivered event, unless a replay is under way.
func withReplay(ctx context.Context, a *act) error {
	_, err := a.replay(ctx, "--until", time.Now().Format(time.RFC3339Nano), "--rate", "1000", "--yes")
	return err
}

func withLargeTransaction(ctx context.Context, a *act) error {
	w := &writer{run: a.run, random: a.random}
	w.transaction(ctx, 500, a.aggregates()[:1])
	return nil
}

// slowly runs a fault with a slow broker.
func slowly(do func(context.Context, *act) error) func(context.Context, *act) error {
	return func(ctx context.Context, a *act) error {
		slow := a.broker.Script(fakeaws.Match{}, fakeaws.Delay(20*time.Millisecond))
		defer slow.Clear()
		return do(ctx, a)
	}
}
