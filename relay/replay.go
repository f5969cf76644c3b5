package relay

import (
	"context"
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/replay"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

const (
	// replayInterval is how often the relay looks whether somebody asked for a replay.
	replayInterval = time.Second
	// replayWindow is how many events of a replay are on their way at the same time, at most, and sent again after a crash.
	replayWindow = 200
	// replayPages is into how many parts a second's worth of a replay is divided, as long as each has an event.
	replayPages = 10
)

// replayer hands delivered events that are to be sent once more to delivery, in order of seq and a page at a time: the next
// one is read when the one before is delivered and the row of the replay says so.
type replayer struct {
	*session
	store *replay.Store
	due   time.Time // of the next page
}

// replay sends delivered events once more as somebody asks for it, once recovery is done and until ctx ends. What fails is
// tried again: whether the database can be used, and whether the slot is held, is for others to find out.
func (s *session) replay(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.intake.begun:
	}
	r := &replayer{session: s, store: replay.NewStore(s.pool, s.held.fence, s.Table)}
	for ctx.Err() == nil {
		err := withCure(r.next(ctx))
		r.Health.Retries("replay", err)
		if err != nil && ctx.Err() == nil {
			s.Log.Warn("replay: trying again", "err", err)
		}
		sleep(ctx, replayInterval)
	}
	return nil
}

// next sends a replay to its end, if there is one.
func (r *replayer) next(ctx context.Context) error {
	asked, err := r.store.Next(ctx)
	if err != nil || asked == nil {
		return err
	}
	log := r.Log.With("replay", asked.ID)
	log.Info("replay: sending", "events", asked.Events, "rate", asked.Rate, "after_seq", asked.PassedSeq, "up_to_seq", asked.LastSeq)
	for asked.State == replay.Running {
		page, err := r.store.Page(ctx, asked, pageOf(asked.Rate))
		if err != nil {
			return err
		}
		if page.End {
			log.Info("replay: done", "sent", asked.Sent, "refused", asked.Refused)
			return r.store.Finish(ctx, asked)
		}
		if asked, err = r.pass(ctx, asked, page); err != nil {
			return err
		}
	}
	log.Info("replay: stopped", "sent", asked.Sent, "refused", asked.Refused, "events", asked.Events)
	return nil
}

// pageOf returns how many events are sent together at this rate.
func pageOf(rate int) int { return max(1, min(rate/replayPages, replayWindow)) }

// pass sends the events of a page, when they are due, and notes what became of them.
func (r *replayer) pass(ctx context.Context, asked *replay.Replay, page replay.Page) (*replay.Replay, error) {
	var outcome replay.Outcome
	if len(page.Events) > 0 {
		if sleep(ctx, time.Until(r.due)); ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r.due = time.Now().Add(time.Duration(len(page.Events)) * time.Second / time.Duration(asked.Rate))
		var err error
		if outcome, err = r.send(ctx, asked.ID, page.Events); err != nil {
			return nil, err
		}
	}
	return r.store.Passed(ctx, asked, page, outcome)
}

// send hands events to delivery and waits until each is delivered or refused.
func (r *replayer) send(ctx context.Context, id int64, events []outbox.Envelope) (replay.Outcome, error) {
	refusals := make(chan string, len(events)) // an empty one for each that is delivered
	for i := range events {
		event := &delivery.Event{}
		routed := r.Router.Replay(&events[i], id, &event.Message)
		event.Problem = routed.Problem
		eventID := event.Message.EventID
		event.Replayed = func(refused *sink.RejectedError) {
			if refused == nil {
				refusals <- ""
				return
			}
			refusals <- fmt.Sprintf("event %s: %v", eventID, refused)
		}
		r.Metrics.HeadersDropped(routed.DroppedHeaders)
		r.delivery.Send(routed.Destination, event)
	}
	var outcome replay.Outcome
	for range events {
		select {
		case <-ctx.Done():
			return outcome, ctx.Err()
		case refusal := <-refusals:
			if refusal == "" {
				outcome.Sent++
				continue
			}
			outcome.Refused++
			outcome.LastRefusal = refusal
		}
	}
	return outcome, nil
}
