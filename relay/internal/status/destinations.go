package status

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// troubleAfter is how long requests or messages may fail without an acceptance before a destination
// counts as unavailable or refusing. A single failure does not.
const troubleAfter = 2 * time.Second

// longestError bounds the text of an error in a report, in bytes.
const longestError = 500

// Destinations is a [delivery.Observer] that knows the state of each destination. It passes every
// call on to the observer of the metrics.
type Destinations struct {
	delivery.Observer // of the metrics

	mu        sync.Mutex
	known     map[string]*destination
	delivered uint64
	dropped   uint64
}

type destination struct {
	acceptedAt  time.Time
	failedAt    time.Time // the first failure since the last acceptance
	failed      int       // failed requests or messages since then
	last        failure
	refused     failure   // the last request that was refused because of its messages
	throttledAt time.Time // zero while the destination does not limit the rate
	pausedAt    time.Time // zero while it is not paused
	unstored    unstored  // large events that the bucket does not accept
	rate        float64
	delivered   uint64
}

// failure is the failure of a request or of a message.
type failure struct {
	code, err string
	isRefusal bool // the destination answers, and refuses a message because of its content
	isRequest bool // of a request; those of its messages are the same failure
}

func (k *destination) fails(since time.Time, f failure) {
	if k.failed == 0 {
		k.failedAt = since
	}
	k.failed++
	k.last = f
}

// NewDestinations returns Destinations without any state.
func NewDestinations(metrics delivery.Observer) *Destinations {
	return &Destinations{Observer: metrics, known: map[string]*destination{}}
}

// Expect adds a destination to the reports.
func (d *Destinations) Expect(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.of(name)
}

func (d *Destinations) of(name string) *destination {
	if d.known[name] == nil {
		d.known[name] = &destination{}
	}
	return d.known[name]
}

// Requested implements [delivery.Observer]. A throttled request, or a request whose messages are
// refused, proves that the destination is available.
func (d *Destinations) Requested(name string, events int, took time.Duration, err error) {
	d.Observer.Requested(name, events, took, err)
	if err == nil {
		return
	}
	if sink.IsThrottled(err) || errors.Is(err, context.Canceled) {
		return
	}
	f := failure{code: sink.Code(err), err: shorten(err.Error()), isRequest: true}
	d.mu.Lock()
	defer d.mu.Unlock()
	if rejected := (*sink.RejectedError)(nil); errors.As(err, &rejected) {
		f.isRefusal, f.isRequest = true, false
		d.of(name).refused = f // a part of the request may be accepted
		return
	}
	d.of(name).fails(time.Now().Add(-took), f)
}

// Retried implements [delivery.Observer]. The last failure counts: a destination that did not
// answer may refuse by now.
func (d *Destinations) Retried(name, code string) {
	d.Observer.Retried(name, code)
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.of(name)
	switch {
	case known.failed > 0 && code == sink.CodeUnknown: // such as a message behind one that failed
	case known.failed > 0 && code == known.last.code && known.last.isRequest: // the request is counted already
	case code == known.refused.code:
		known.fails(time.Now(), known.refused)
	default:
		known.fails(time.Now(), failure{code: code, isRefusal: sink.IsRefusal(code)})
	}
}

// Delivered implements [delivery.Observer].
func (d *Destinations) Delivered(name string, sinceCommit []time.Duration) {
	d.Observer.Delivered(name, sinceCommit)
	d.accepted(name, len(sinceCommit))
}

// Dropped implements [delivery.Observer].
func (d *Destinations) Dropped(events int) {
	d.Observer.Dropped(events)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dropped += uint64(events)
}

// droppedEvents returns how many events a route has led nowhere.
func (d *Destinations) droppedEvents() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dropped
}

// Redriven implements [delivery.Observer].
func (d *Destinations) Redriven(name string) {
	d.Observer.Redriven(name)
	d.accepted(name, 1)
}

// Replayed implements [delivery.Observer].
func (d *Destinations) Replayed(name, code string) {
	d.Observer.Replayed(name, code)
	if code != "" {
		d.settled(name, code)
		return
	}
	d.accepted(name, 1)
}

// Parked implements [delivery.Observer]. If the refusal of this event was the last failure, the
// destination itself did not fail.
func (d *Destinations) Parked(name, code string) {
	d.Observer.Parked(name, code)
	d.settled(name, code)
}

// settled clears a failure that was the fault of one message, once the relay has finished with that
// message.
func (d *Destinations) settled(name, code string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.of(name); known.last.code == code {
		known.forgetFailures()
	}
}

// forgetFailures clears the failures of a session that has ended. Another relay may have delivered
// since.
func (d *Destinations) forgetFailures() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, known := range d.known {
		known.forgetFailures()
		known.unstored = unstored{}
	}
}

func (k *destination) forgetFailures() { k.failed, k.last, k.refused = 0, failure{}, failure{} }

func (d *Destinations) accepted(name string, events int) {
	if events == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.of(name)
	known.acceptedAt = time.Now()
	known.forgetFailures()
	known.delivered += uint64(events)
	d.delivered += uint64(events)
}

// Paced implements [delivery.Observer].
func (d *Destinations) Paced(name string, perSecond float64, throttled bool) {
	d.Observer.Paced(name, perSecond, throttled)
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.of(name)
	known.rate = perSecond
	switch {
	case !throttled:
		known.throttledAt = time.Time{}
	case known.throttledAt.IsZero():
		known.throttledAt = time.Now()
	}
}

// Paused implements [delivery.Observer]. A paused destination gets no request, so its last failure
// no longer tells how it is.
func (d *Destinations) Paused(name string, paused bool) {
	d.Observer.Paused(name, paused)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch known := d.of(name); {
	case paused == !known.pausedAt.IsZero():
		return
	case paused:
		known.pausedAt = time.Now()
	default:
		known.pausedAt = time.Time{}
	}
	known := d.of(name)
	known.forgetFailures()
	known.unstored = unstored{}
}

// report returns all destinations in the order of their names, and the number of events that they
// accepted.
func (d *Destinations) report(now time.Time) (all []Destination, delivered uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(d.known)) {
		all = append(all, d.known[name].report(name, now))
	}
	return all, d.delivered
}

func (k *destination) report(name string, now time.Time) Destination {
	d := Destination{
		Name: name, State: DestinationOK,
		LastAcceptedAt: pointer(k.acceptedAt), Delivered: k.delivered, RateLimit: k.rate,
	}
	d.LargeEvents = k.unstored.report(now)
	switch {
	case !k.pausedAt.IsZero():
		d.State, d.Since = DestinationPaused, pointer(k.pausedAt)
	case k.failed > 0 && now.Sub(k.failedAt) >= troubleAfter:
		d.State, d.Since, d.Failures = DestinationUnavailable, pointer(k.failedAt), k.failed
		d.Code, d.Error = k.last.code, k.last.err
		if k.last.isRefusal {
			d.State = DestinationRefusing
		}
	case d.LargeEvents != nil:
		d.State, d.Since, d.Failures = DestinationLargeEventsWait, pointer(k.unstored.since), k.unstored.failed
		d.Code, d.Error = k.unstored.last.code, k.unstored.last.err
	case !k.throttledAt.IsZero():
		d.State, d.Since = DestinationThrottled, pointer(k.throttledAt)
	}
	return d
}

// pointer returns nil for the zero time.
func pointer(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func shorten(text string) string {
	if len(text) <= longestError {
		return text
	}
	return text[:longestError] + "…"
}
