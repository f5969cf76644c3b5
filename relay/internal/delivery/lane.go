package delivery

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// provenFor is how long a destination counts as working after it took an event. Only then is the refusal of a request
// with a single message taken for that message's fault.
const provenFor = time.Minute

// Codes of events that the relay itself parks, beside those of the broker.
const (
	CodeUnusable = "UnusableEvent"   // whatever the destination
	CodeBlocked  = "BlockedGroup"    // behind another one of its group
	CodeAway     = "DestinationAway" // for as long as Options.ParkAfter says
)

// lane serves one destination: it runs the requests that its queue decides on.
type lane struct {
	Destination
	delivery *Delivery
	policy   Policy
	log      *slog.Logger

	mu          sync.Mutex
	queue       *queue
	timer       *time.Timer // asks the queue again
	tookEventAt time.Time   // zero before the first
	closed      bool
}

func newLane(d *Delivery, destination Destination, options Options) *lane {
	limits := destination.Sink.Limits()
	policy := options.OnRejected
	if policy == ParkDefault && limits.FIFO {
		policy = ParkAggregate
	}
	blocked := map[string]string{}
	for group, event := range destination.Blocked {
		blocked[group] = event
	}
	l := &lane{
		Destination: destination,
		delivery:    d,
		policy:      policy,
		log:         d.deps.Log.With("destination", destination.Name),
		queue:       newQueue(limits, options, blocked),
	}
	l.timer = time.AfterFunc(time.Hour, l.pump)
	l.timer.Stop()
	return l
}

func (l *lane) send(e *Event) {
	limits := l.Sink.Limits()
	if e.Problem != "" {
		e.rejection = &sink.RejectedError{Code: CodeUnusable, Reason: e.Problem}
	} else {
		l.delivery.deps.Observer.HeadersDropped(route.DropHeaders(&e.Message, limits.MaxMessageBytes))
		e.rejection = sink.Validate(&e.Message, limits)
	}
	e.size = e.Message.Size()
	l.push(e)
}

func (l *lane) push(e *Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue.push(e, time.Now())
	l.start()
}

func (l *lane) pump() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start()
}

func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.timer.Stop()
}

// start begins every request that the queue has. l.mu is held.
func (l *lane) start() {
	for !l.closed {
		batch, again := l.queue.take(time.Now())
		if batch == nil {
			if !again.IsZero() {
				l.timer.Reset(time.Until(again))
			}
			return
		}
		l.delivery.wait.Add(1)
		go l.run(batch)
	}
}

// run sends a batch and takes what was not delivered back into the queue.
func (l *lane) run(batch []*Event) {
	defer l.delivery.wait.Done()
	l.deliver(batch)

	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.queue.failures
	l.queue.done(batch, time.Now())
	l.report(before, l.queue.failures, batch)
	l.start()
}

// deliver publishes or parks every event of batch, but for what is withdrawn, and leaves in its err why it could not. What
// is parked comes last in its group, and waits until the events before it are delivered: it may block them.
func (l *lane) deliver(batch []*Event) {
	sendable := make([]*Event, 0, len(batch))
	for _, e := range batch {
		l.free(e)
		l.withdraw(e)
		if e.err == nil && e.isSendable() {
			sendable = append(sendable, e)
		}
	}
	l.publish(sendable)
	for i, e := range batch {
		if e.err == nil && !e.isSendable() && !e.withdrawn {
			l.parkUnsent(e, batch[:i])
		}
		if e.err == nil && !e.isAskedFor() {
			l.delivery.deps.Tracker.Delivered(e.Handle)
		}
	}
}

// parkUnsent parks an event that is not to be sent, unless an earlier one of its group was not delivered.
func (l *lane) parkUnsent(e *Event, earlier []*Event) {
	switch {
	case e.isBehind(earlier):
		e.err = errBehind
	case e.blockedBy != "":
		reason := fmt.Sprintf("%v: %s", errBlocked, e.blockedBy)
		l.park(e, &sink.RejectedError{Code: CodeBlocked, Reason: reason})
	default:
		l.park(e, e.rejection)
	}
}

// publish sends events as one request, if there are any. If the broker refuses the request for what is in it, each half
// goes by itself, and so on, until the message that it refuses stands alone.
func (l *lane) publish(events []*Event) {
	if len(events) == 0 {
		return
	}
	results, err := l.request(events)
	var refused *sink.RejectedError
	switch {
	case err == nil:
		l.settle(events, results)
	case errors.As(err, &refused) && len(events) > 1:
		half := len(events) / 2
		l.publish(events[:half])
		l.publish(l.inOrder(events[:half], events[half:]))
	case errors.As(err, &refused) && l.isProven():
		l.park(events[0], refused)
	default:
		for _, e := range events {
			l.retry(e, err)
		}
	}
}

// inOrder returns those of events that overtake nothing: what stands behind an event of its group that was not delivered,
// or was parked and blocks it, goes back to the queue.
func (l *lane) inOrder(earlier, events []*Event) []*Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := map[string]bool{}
	for _, e := range earlier {
		if group := e.Message.GroupID; e.err != nil || l.queue.blocked[group] != "" {
			held[group] = true
		}
	}
	var free []*Event
	for _, e := range events {
		if e.err = nil; held[e.Message.GroupID] {
			e.err = errBehind
			continue
		}
		free = append(free, e)
	}
	return free
}

// request sends events as one request. One that met a connection which the broker had closed says nothing about the
// destination and is sent once more, at once.
func (l *lane) request(events []*Event) ([]sink.Result, error) {
	messages := make([]*sink.Message, len(events))
	for i, e := range events {
		messages[i] = &e.Message
	}
	results, err := l.attempt(events, messages)
	if errors.Is(err, sink.ErrConnectionClosed) {
		results, err = l.attempt(events, messages)
	}
	if err == nil && len(results) != len(events) {
		err = fmt.Errorf("destination %s answered for %d of %d messages", l.Name, len(results), len(events))
	}
	return results, err
}

func (l *lane) attempt(events []*Event, messages []*sink.Message) ([]sink.Result, error) {
	if err := l.delivery.mayRequest(); err != nil {
		return nil, err
	}
	for _, e := range events {
		e.attempts++
	}
	start := time.Now()
	results, err := l.Sink.Publish(l.delivery.requests, messages)
	l.delivery.deps.Observer.Requested(l.Name, len(events), time.Since(start), err)
	return results, err
}

// settle takes the results of a request message by message.
func (l *lane) settle(events []*Event, results []sink.Result) {
	l.noteTaken(results)
	for i, e := range events {
		var refused *sink.RejectedError
		switch err := results[i].Err; {
		case err == nil:
			l.delivered(e)
		case !errors.As(err, &refused):
			l.retry(e, err)
		case e.isBehind(events[:i]): // it would block what comes before it
			l.retry(e, errBehind)
		default:
			l.park(e, refused)
		}
	}
}

func (l *lane) delivered(e *Event) {
	if e.isRedriven() {
		l.redriven(e)
		return
	}
	if e.isReplayed() {
		l.replayed(e)
		return
	}
	e.err = nil
	var sinceCommit time.Duration
	if !e.CommittedAt.IsZero() {
		sinceCommit = time.Since(e.CommittedAt)
	}
	l.delivery.deps.Observer.Delivered(l.Name, sinceCommit)
}

// noteTaken notes the time if the destination took any event of a request.
func (l *lane) noteTaken(results []sink.Result) {
	if !slices.ContainsFunc(results, func(r sink.Result) bool { return r.Err == nil }) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tookEventAt = time.Now()
}

func (l *lane) isProven() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.tookEventAt) < provenFor
}

func (l *lane) retry(e *Event, err error) {
	e.err = err
	l.delivery.deps.Observer.Retried(l.Name, sink.Code(err))
}

// park stores e as a dead letter, but for one that is replayed. An event that cannot be stored ends delivery: it counts as
// delivered only once it is.
func (l *lane) park(e *Event, rejection *sink.RejectedError) {
	if e.isReplayed() {
		l.refused(e, rejection)
		return
	}
	if l.policy == Halt {
		e.err = rejection
		l.delivery.end(&RejectedError{Destination: l.Name, EventID: e.Message.EventID, Cause: rejection})
		return
	}
	blocks := l.policy == ParkAggregate
	if e.isRedriven() {
		blocks = e.Letter.BlocksGroup
	}
	e.err = l.delivery.deps.Parker.Park(l.delivery.requests, Parked{
		Destination: l.Name,
		Message:     &e.Message,
		Code:        rejection.Code,
		Reason:      rejection.Reason,
		Attempts:    e.attempts,
		BlocksGroup: blocks,
		Letter:      e.Letter,
	})
	if e.err != nil {
		l.delivery.end(e.err)
		return
	}
	l.delivery.deps.Observer.Parked(l.Name, rejection.Code)
	l.log.Warn("event parked", "event_id", e.Message.EventID, "group", e.Message.GroupID, "code", rejection.Code, "reason", rejection.Reason)
	if blocks {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.queue.block(e.Message.GroupID, e.Message.EventID)
	}
}

// report logs when the destination stops taking events, each further attempt that finds it so, and when it is back.
func (l *lane) report(before, after int, batch []*Event) {
	switch {
	case after > before && !l.closed:
		err := batch[slices.IndexFunc(batch, func(e *Event) bool { return e.err != nil })].err
		l.log.Warn("destination takes nothing, retrying", "attempt", after, "code", sink.Code(err), "err", err)
	case before > 0 && after == 0:
		l.log.Info("destination takes events again", "attempts", before)
	}
}
