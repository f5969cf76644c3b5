package delivery

import (
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// sender serves one destination: it runs the requests that its scheduler decides on.
type sender struct {
	Destination // mu guards its field Paused
	delivery    *Delivery
	policy      Policy
	log         *slog.Logger
	reader      limitsReader
	opener      opener   // nil for a sink that was opened before
	preparer    preparer // nil for a sink without work before a request
	// headersDropped makes the log name the first event that loses headers, and no further one.
	headersDropped sync.Once
	unprepared     atomic.Bool // the last preparation failed, as last logged

	mu        sync.Mutex
	scheduler *scheduler
	timer     *time.Timer // asks the scheduler again
	evidence  evidence
	closed    bool
	held      chan struct{} // while no request may start; closed once none is in flight
	paced     float64       // requests a second, as last reported to the observer
	throttled bool          // as last logged
}

func newSender(d *Delivery, destination Destination, options Options) *sender {
	limits := destination.Sink.Limits()
	policy := options.OnRejected
	if policy == ParkDefault && limits.FIFO {
		policy = ParkAggregate
	}
	blocked := map[string]string{}
	for group, event := range destination.Blocked {
		blocked[group] = event
	}
	s := &sender{
		Destination: destination,
		delivery:    d,
		policy:      policy,
		log:         d.deps.Log.With("destination", destination.Name),
		scheduler:   newScheduler(limits, options, blocked),
	}
	s.opener, _ = destination.Sink.(opener)
	s.preparer, _ = destination.Sink.(preparer)
	s.timer = time.AfterFunc(time.Hour, s.pump)
	s.timer.Stop()
	s.reportPace()
	d.deps.Observer.Paused(s.Name, s.Paused)
	return s
}

func (s *sender) send(events []*Event) {
	for _, e := range events {
		s.examine(e)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, e := range events {
		e.ReadAt = now
		s.scheduler.push(e, now)
	}
	s.start()
}

func (s *sender) pump() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start()
}

func (s *sender) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scheduler.options.Linger = 0
	s.start()
}

// end prevents further requests.
func (s *sender) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.timer.Stop()
}

// start begins every request that the scheduler has. s.mu is held.
func (s *sender) start() {
	for batch := s.take(); batch != nil; batch = s.take() {
		s.delivery.begin(work{s, batch})
	}
}

// take returns the next batch that may be sent now, or nil. s.mu is held.
func (s *sender) take() []*Event {
	if s.closed || s.held != nil || s.Paused {
		return nil
	}
	s.scheduler.others = int(s.delivery.inFlight.Load()) - s.scheduler.inFlight
	batch, again := s.scheduler.take(time.Now())
	s.reportPace()
	switch {
	case batch != nil:
		s.delivery.inFlight.Add(1)
	case !again.IsZero():
		s.timer.Reset(time.Until(again))
	}
	return batch
}

// run sends a batch, and then the next ones as long as there are any.
func (s *sender) run(batch []*Event) {
	for batch != nil {
		s.deliver(batch)
		delivered, next := s.done(batch)
		s.delivery.spare.put(delivered)
		batch = next
	}
}

// done returns a batch to the scheduler. It returns the delivered events, which no other goroutine
// holds, and the next batch. Another goroutine may already hold the events that are retried.
func (s *sender) done(batch []*Event) (delivered, next []*Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.scheduler.failures
	s.scheduler.limits = s.Sink.Limits() // the request may have opened the sink
	s.scheduler.done(batch, time.Now())
	s.delivery.inFlight.Add(-1)
	if s.held != nil && s.scheduler.inFlight == 0 {
		close(s.held)
	}
	s.report(before, s.scheduler.failures, batch)
	delivered = slices.DeleteFunc(batch, func(e *Event) bool {
		return e.err != nil || e.isManual() || e.Settled != nil
	})
	if next = s.take(); next != nil {
		s.start()
	}
	return delivered, next
}

// deliver publishes or parks every event of batch, except withdrawn ones, and stores in its err why
// it failed. Events to park come last in their group: they may block it, so they wait until the
// events before them are delivered.
func (s *sender) deliver(batch []*Event) {
	sendable := s.sendable(batch)
	s.publish(sendable)
	s.reportDone(sendable)
	for i, e := range batch {
		if e.err == nil && !e.isSendable() && !e.withdrawn {
			s.parkUnsent(e, batch[:i])
			s.reportDone(batch[i : i+1])
		}
	}
}

// sendable returns the events of batch that are sent. Nearly always that is batch itself.
func (s *sender) sendable(batch []*Event) []*Event {
	all := true
	for _, e := range batch {
		s.unblockGroup(e)
		s.withdraw(e)
		s.fit(e)
		all = all && e.err == nil && e.isSendable()
	}
	if all {
		return batch
	}
	return slices.DeleteFunc(slices.Clone(batch), func(e *Event) bool { return e.err != nil || !e.isSendable() })
}

// reportDone reports delivered and parked events to the Tracker. It drops their bodies first,
// which may have many MB, because the stream reads on as soon as the window has room.
func (s *sender) reportDone(events []*Event) {
	var space [sink.MaxBatch]checkpoint.Handle
	delivered := space[:0]
	for _, e := range events {
		switch {
		case e.err != nil || e.isManual():
		case e.Settled != nil:
			e.Message.Body = ""
			e.Settled()
		default:
			e.Message.Body = ""
			delivered = append(delivered, e.Handle)
		}
	}
	s.delivery.deps.Tracker.Delivered(delivered...)
}

// report logs that the destination becomes unavailable, each further attempt, and that it is
// available again.
func (s *sender) report(before, after int, batch []*Event) {
	switch {
	case after > before && !s.closed:
		err := batch[slices.IndexFunc(batch, func(e *Event) bool { return e.err != nil })].err
		s.log.Warn("destination unavailable, retrying", "event", "destination_unavailable",
			"attempt", after, "code", sink.Code(err), "err", err)
	case before > 0 && after == 0:
		s.log.Info("destination available again", "event", "destination_available", "attempts", before)
	}
}

// reportPace reports the rate of requests to the observer. It logs when the destination begins to
// throttle and when it no longer does.
func (s *sender) reportPace() {
	rate, throttled := s.scheduler.pacer.Rate(), s.scheduler.pacer.Throttled()
	if rate == s.paced && throttled == s.throttled {
		return
	}
	s.paced = rate
	s.delivery.deps.Observer.Paced(s.Name, rate, throttled)
	switch {
	case throttled && !s.throttled && !s.scheduler.pacer.Searching():
		s.throttled = true
		s.log.Warn("destination throttles: the relay sends requests at the rate that it accepts",
			"requests_per_second", math.Round(rate))
	case !throttled && s.throttled:
		s.throttled = false
		s.log.Info("destination no longer throttles: it has refused no request for five minutes")
	}
}
