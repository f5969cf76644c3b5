package delivery

import (
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// lane serves one destination: it runs the requests that its queue decides on.
type lane struct {
	Destination
	delivery *Delivery
	policy   Policy
	log      *slog.Logger
	reader   limitsReader
	// headersDropped has the log say once that headers are left out.
	headersDropped sync.Once

	mu        sync.Mutex
	queue     *queue
	timer     *time.Timer // asks the queue again
	evidence  evidence
	closed    bool
	paced     float64 // requests a second, as the observer was told
	throttled bool    // as the log was told
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
	l.reportPace()
	return l
}

func (l *lane) send(events []*Event) {
	for _, e := range events {
		l.examine(e)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for _, e := range events {
		l.queue.push(e, now)
	}
	l.start()
}

func (l *lane) pump() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start()
}

func (l *lane) hurry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue.options.Linger = 0
	l.start()
}

// end starts no request any more.
func (l *lane) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.timer.Stop()
}

// start begins every request that the queue has. l.mu is held.
func (l *lane) start() {
	for batch := l.take(); batch != nil; batch = l.take() {
		l.delivery.wait.Add(1)
		go l.run(batch)
	}
}

// take returns the next batch that may be sent now, or nil. l.mu is held.
func (l *lane) take() []*Event {
	if l.closed {
		return nil
	}
	l.queue.others = int(l.delivery.inFlight.Load()) - l.queue.inFlight
	batch, again := l.queue.take(time.Now())
	l.reportPace()
	switch {
	case batch != nil:
		l.delivery.inFlight.Add(1)
	case !again.IsZero():
		l.timer.Reset(time.Until(again))
	}
	return batch
}

// run sends a batch, and after it another one for as long as there is one: under load a goroutine lives long, and has its
// stack grown once.
func (l *lane) run(batch []*Event) {
	defer l.delivery.wait.Done()
	for batch != nil {
		l.deliver(batch)
		delivered, next := l.done(batch)
		l.delivery.recycle(delivered)
		batch = next
	}
}

// done gives a batch back to the queue. It returns those of its events that nobody knows any more, and the next batch. The
// others may be in the hands of another goroutine by then.
func (l *lane) done(batch []*Event) (delivered, next []*Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.queue.failures
	l.queue.done(batch, time.Now())
	l.delivery.inFlight.Add(-1)
	l.report(before, l.queue.failures, batch)
	delivered = slices.DeleteFunc(batch, func(e *Event) bool { return e.err != nil || e.isAskedFor() || e.Settled != nil })
	if next = l.take(); next != nil {
		l.start()
	}
	return delivered, next
}

// deliver publishes or parks every event of batch, but for what is withdrawn, and leaves in its err why it could not. What
// is parked comes last in its group, and waits until the events before it are delivered: it may block them.
func (l *lane) deliver(batch []*Event) {
	sendable := l.sendable(batch)
	l.publish(sendable)
	l.tellTracker(sendable)
	for i, e := range batch {
		if e.err == nil && !e.isSendable() && !e.withdrawn {
			l.parkUnsent(e, batch[:i])
			l.tellTracker(batch[i : i+1])
		}
	}
}

// sendable returns the events of batch that are sent: nearly always it is batch itself.
func (l *lane) sendable(batch []*Event) []*Event {
	all := true
	for _, e := range batch {
		l.free(e)
		l.withdraw(e)
		l.fit(e)
		all = all && e.err == nil && e.isSendable()
	}
	if all {
		return batch
	}
	return slices.DeleteFunc(slices.Clone(batch), func(e *Event) bool { return e.err != nil || !e.isSendable() })
}

// tellTracker says which of events are delivered or parked.
func (l *lane) tellTracker(events []*Event) {
	var space [sink.MaxBatch]checkpoint.Handle
	delivered := space[:0]
	for _, e := range events {
		switch {
		case e.err != nil || e.isAskedFor():
		case e.Settled != nil:
			e.Settled()
		default:
			delivered = append(delivered, e.Handle)
		}
	}
	l.delivery.deps.Tracker.Delivered(delivered...)
}

// report logs when the destination stops taking events, each further attempt that finds it so, and when it is back.
func (l *lane) report(before, after int, batch []*Event) {
	switch {
	case after > before && !l.closed:
		err := batch[slices.IndexFunc(batch, func(e *Event) bool { return e.err != nil })].err
		l.log.Warn("destination unavailable, retrying", "event", "destination_unavailable",
			"attempt", after, "code", sink.Code(err), "err", err)
	case before > 0 && after == 0:
		l.log.Info("destination available again", "event", "destination_available", "attempts", before)
	}
}

// reportPace tells the observer how many requests a second may be sent, and logs when the destination has a rate of its own
// and when it has none any more.
func (l *lane) reportPace() {
	rate, throttled := l.queue.pacer.Rate(), l.queue.pacer.Throttled()
	if rate == l.paced && throttled == l.throttled {
		return
	}
	l.paced = rate
	l.delivery.deps.Observer.Paced(l.Name, rate, throttled)
	switch {
	case throttled && !l.throttled && !l.queue.pacer.Searching():
		l.throttled = true
		l.log.Warn("destination throttles: requests are sent at the rate that it takes", "requests_per_second", math.Round(rate))
	case !throttled && l.throttled:
		l.throttled = false
		l.log.Info("destination throttles no more: it has refused nothing for five minutes")
	}
}
