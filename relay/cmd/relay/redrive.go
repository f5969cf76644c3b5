package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/deadletter"
	"github.com/outbox-relay/outbox-relay/relay/internal/span"
)

// refusalsShown is how many refusals of a redrive are named.
const refusalsShown = 10

type redriveLetters struct {
	selection
	All    bool `help:"All parked events; with --cancel all that are being redriven."`
	Cancel bool `xor:"wait" help:"Keep events parked that are being redriven, with those of their message groups."`
	NoWait bool `xor:"wait" help:"Do not wait for the outcome: relay dead-letters list shows the events that are still parked."`
}

// Run marks dead letters for the running relay, and waits until each has an outcome.
func (c *redriveLetters) Run(ctx context.Context, w io.Writer) error {
	return c.change(ctx, c.All, func(pool *pgxpool.Pool, wanted deadletter.Selection) error {
		if c.Cancel {
			n, err := deadletter.CancelRedrive(ctx, pool, wanted)
			if err != nil || n == 0 {
				return c.none(err)
			}
			_, err = fmt.Fprintf(w, "%d events stay parked; one that was being sent may still arrive\n", n)
			return err
		}
		outcome, err := deadletter.MarkRedriving(ctx, pool, wanted)
		if err != nil || outcome.Total == 0 {
			return c.none(err)
		}
		fmt.Fprintf(w, "marked %d of the parked events: the relay that holds slot %s sends them again, in order\n",
			outcome.Total, c.Slot)
		relay := waiter{pool: pool, slot: c.Slot, out: w}
		if c.NoWait {
			_, err = relay.warnUnheld(ctx)
			return err
		}
		return c.wait(ctx, relay, outcome)
	})
}

// wait shows the progress until each dead letter has an outcome. The redrive itself does not need
// the command.
func (c *redriveLetters) wait(ctx context.Context, relay waiter, outcome *deadletter.Outcome) error {
	var sent pace
	err := relay.await(ctx, func(ctx context.Context) (done bool, err error) {
		err = outcome.Look(ctx)
		sent.add(time.Now(), outcome.Total-outcome.Left())
		return outcome.Left() == 0, err
	}, func() string { return delivered(outcome) + ", " + sent.describe(outcome.Left()) })
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("%d events are still on their way, and the relay continues: relay dead-letters redrive "+
			"--cancel keeps those parked that are not sent yet", outcome.Left())
	case err != nil:
		return fmt.Errorf("%w. The redrive continues: relay dead-letters list shows the events that are still "+
			"parked", explain(err))
	}
	return report(outcome, relay.out)
}

func delivered(o *deadletter.Outcome) string {
	return fmt.Sprintf("%d of %d events delivered", o.Delivered, o.Total)
}

// report prints the outcome of a redrive. It returns an error if an event was refused again.
func report(o *deadletter.Outcome, w io.Writer) error {
	fmt.Fprintf(w, "the redrive is done: %s\n", delivered(o))
	for i, r := range o.Refused {
		if i == refusalsShown {
			fmt.Fprintf(w, "  and %d more\n", len(o.Refused)-i)
			break
		}
		fmt.Fprintf(w, "  position %d, event %s, was refused again: %s: %s\n", r.Position, r.EventID, r.Code, r.Reason)
	}
	if o.Parked > 0 {
		fmt.Fprintf(w, "  not sent, and still parked: %d. They wait behind a refused event, or the redrive was "+
			"canceled\n", o.Parked)
	}
	if o.Discarded > 0 {
		fmt.Fprintf(w, "  discarded in the meantime: %d\n", o.Discarded)
	}
	if n := len(o.Refused); n > 0 {
		return fmt.Errorf("%s %s refused again: fix the cause, then redrive or discard what was refused",
			span.Count(n, "event"), span.Verb(n, "was", "were"))
	}
	return nil
}
