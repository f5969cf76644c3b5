package delivery_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// BenchmarkDelivery measures the cost of an event in delivery and Tracker, without the request.
// Events come in runs of twenty, as a read of the stream brings them. The destination accepts
// everything at once. b.N counts events.
func BenchmarkDelivery(b *testing.B) {
	for _, c := range []struct {
		limits     sink.Limits
		aggregates int
	}{
		{sink.Limits{MaxMessageBytes: 1 << 20, MaxBatchBytes: 1 << 20}, 10_000},
		{sink.Limits{MaxMessageBytes: 1 << 20, MaxBatchBytes: 1 << 20, FIFO: true}, 10_000},
		{sink.Limits{MaxMessageBytes: 1 << 20, MaxBatchBytes: 1 << 20, FIFO: true}, 100},
	} {
		b.Run(fmt.Sprintf("fifo=%t/aggregates=%d", c.limits.FIFO, c.aggregates), func(b *testing.B) {
			tracker := checkpoint.NewTracker(checkpoint.Window{Events: 8192, Bytes: 8 << 20}, checkpoint.Position{})
			d := delivery.New(
				[]delivery.Destination{{Name: "orders", Sink: &taker{limits: c.limits}}},
				delivery.Options{
					InFlight:      64,
					EagerInFlight: 4,
					Backoff:       delivery.Backoff{Min: time.Millisecond, Max: time.Second},
				},
				delivery.Deps{
					Tracker:  tracker,
					Lease:    &lease{},
					Observer: silent{},
					Log:      slog.New(slog.DiscardHandler),
				},
			)
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan error)
			go func() { ended <- d.Run(ctx) }()
			groups := make([]string, c.aggregates)
			for i := range groups {
				groups[i] = "order/" + strconv.Itoa(i)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				n += sendRun(tracker, d, groups, n)
			}
			<-tracker.Idle()
			b.StopTimer()
			cancel()
			<-ended
		})
	}
}

// sendRun sends twenty events from the n-th on, as soon as there is room.
func sendRun(tracker *checkpoint.Tracker, d *delivery.Delivery, groups []string, n int) int {
	var run [20]*delivery.Event
	for i := range run {
		for !tracker.HasRoom() {
			if i > 0 {
				d.Send(0, run[:i]...)
				return i
			}
			<-tracker.Room()
		}
		e := d.NewEvent()
		e.Message.EventID, e.Message.Body = "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11", `{"total": 12}`
		e.Message.GroupID = groups[(n+i)%len(groups)]
		e.Message.DeduplicationID = e.Message.EventID
		e.Handle = tracker.Open(e.Message.EventID, 300)
		run[i] = e
	}
	d.Send(0, run[:]...)
	return len(run)
}

// taker accepts everything, with the same answer each time.
type taker struct {
	limits  sink.Limits
	results [sink.MaxBatch]sink.Result
}

func (t *taker) Limits() sink.Limits { return t.limits }

func (t *taker) ReadLimits(context.Context) error { return nil }

func (t *taker) Publish(_ context.Context, batch []*sink.Message) ([]sink.Result, error) {
	return t.results[:len(batch)], nil
}

// silent observes nothing.
type silent struct{}

func (silent) Stored(string, int, int)                     {}
func (silent) Unstored(string, int, error)                 {}
func (silent) Dropped(int)                                 {}
func (silent) HeadersDropped(int)                          {}
func (silent) Requested(string, int, time.Duration, error) {}
func (silent) Paced(string, float64, bool)                 {}
func (silent) Paused(string, bool)                         {}
func (silent) Delivered(string, []time.Duration)           {}
func (silent) Retried(string, string)                      {}
func (silent) Parked(string, string)                       {}
func (silent) Redriven(string)                             {}
func (silent) Replayed(string, string)                     {}
