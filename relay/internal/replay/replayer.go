package replay

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

const (
	// lookInterval is the pause between two queries for a replay that an operator requested.
	lookInterval = time.Second
	// window bounds the events of a replay that are in flight at the same time. After a crash they
	// are sent again.
	window = 200
	// pagesPerSecond divides the events of a second into pages, as long as each page has an event.
	pagesPerSecond = 10
)

// Replayer sends delivered events again, in order of seq and page by page: it reads the next page
// once the page before is delivered and the row of the replay says so.
type Replayer struct {
	Store  *Store
	Router *route.Router
	Send   func(destination int, events ...*delivery.Event) // delivery's
	// Dropped is called with the number of events that a route leads nowhere.
	Dropped func(events int)
	// HeadersDropped is called with the number of headers of an event that had no room in its
	// message.
	HeadersDropped func(headers int)
	// Retries is called with an error that the Replayer retries, or nil once it works again.
	Retries func(error)
	Log     *slog.Logger

	due time.Time // of the next page
}

// Run replays until ctx ends, and then returns nil. It retries every error, because other parts of
// the session check the database and the slot.
func (r *Replayer) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := postgres.WithRemedy(r.next(ctx))
		r.Retries(err)
		if err != nil && ctx.Err() == nil {
			r.Log.Warn("replay: trying again", "err", err)
		}
		task.Sleep(ctx, lookInterval)
	}
	return nil
}

// next sends the events of the next replay, if an operator requested one.
func (r *Replayer) next(ctx context.Context) error {
	replay, err := r.Store.Next(ctx)
	if err != nil || replay == nil {
		return err
	}
	log := r.Log.With("replay", replay.ID)
	log.Info("replay: sending", "events", replay.Events, "rate", replay.Rate, "after_seq", replay.PassedSeq,
		"up_to_seq", replay.LastSeq)
	for replay.State == Running {
		page, err := r.Store.Page(ctx, replay, pageOf(replay.Rate))
		if err != nil {
			return err
		}
		if page.End {
			log.Info("replay: done", "sent", replay.Sent, "refused", replay.Refused)
			return r.Store.Finish(ctx, replay)
		}
		if replay, err = r.pass(ctx, replay, page); err != nil {
			return err
		}
	}
	log.Info("replay: stopped", "sent", replay.Sent, "refused", replay.Refused, "events", replay.Events)
	return nil
}

// pageOf returns how many events a page has at this rate.
func pageOf(rate int) int { return max(1, min(rate/pagesPerSecond, window)) }

// pass sends the events of a page when they are due, and stores their outcome.
func (r *Replayer) pass(ctx context.Context, replay *Replay, page Page) (*Replay, error) {
	var outcome Outcome
	if len(page.Events) > 0 {
		if !task.Sleep(ctx, time.Until(r.due)) {
			return nil, ctx.Err()
		}
		r.due = time.Now().Add(time.Duration(len(page.Events)) * time.Second / time.Duration(replay.Rate))
		var err error
		if outcome, err = r.send(ctx, replay.ID, page.Events); err != nil {
			return nil, err
		}
	}
	return r.Store.Passed(ctx, replay, page, outcome)
}

// send hands events to delivery and waits until each is delivered or refused. Events that a route
// leads nowhere are neither.
func (r *Replayer) send(ctx context.Context, id int64, events []outbox.Envelope) (Outcome, error) {
	refusals := make(chan string, len(events)) // an empty text for each delivered event
	sent := 0
	for i := range events {
		event := &delivery.Event{}
		routed := r.Router.Replay(&events[i], id, &event.Message)
		events[i] = outbox.Envelope{} // a row may have many MB, and its message may be a copy
		if routed.Destination == route.Dropped {
			r.Dropped(1)
			continue
		}
		sent++
		event.MarkUnusable(routed.ProblemCode, routed.Problem)
		eventID := event.Message.EventID
		event.Replayed = func(refused *sink.RejectedError) {
			if refused == nil {
				refusals <- ""
				return
			}
			refusals <- fmt.Sprintf("event %s: %v", eventID, refused)
		}
		r.HeadersDropped(routed.DroppedHeaders)
		r.Send(routed.Destination, event)
	}
	var outcome Outcome
	for range sent {
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
