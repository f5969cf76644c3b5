package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/faultproxy"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// version is the payload of an event: its number within its aggregate.
type version struct {
	Aggregate int `json:"aggregate"`
	Version   int `json:"version"`
}

// writer commits events at a steady rate.
type writer struct {
	cancel  context.CancelFunc
	done    chan struct{}
	err     error // set when done is closed
	written atomic.Int64
}

// startWriter commits a transaction every interval, with one event for each aggregate.
func (w *testEnv) startWriter(aggregates int, interval time.Duration) *writer {
	ctx, cancel := context.WithCancel(context.Background())
	r := &writer{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for n := 1; r.err == nil; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			events := make([]outbox.Event, aggregates)
			for i := range events {
				events[i] = event(w.t, strconv.Itoa(i), fmt.Sprintf(`{"aggregate":%d,"version":%d}`, i, n))
			}
			r.err = pgx.BeginFunc(context.Background(), w.pool, func(tx pgx.Tx) error {
				return outbox.Insert(context.Background(), tx, events...)
			})
			r.written.Add(int64(aggregates))
		}
	}()
	w.t.Cleanup(func() { _, _ = r.stop() })
	return r
}

// stop ends the writer and returns the number of committed events.
func (r *writer) stop() (written int, err error) {
	r.cancel()
	<-r.done
	return int(r.written.Load()), r.err
}

// checkVersions waits until all written events have arrived, and checks that first deliveries are
// in order. It returns the number of repeated messages.
func (w *testEnv) checkVersions(written int) (again int) {
	w.t.Helper()
	latest := map[int]int{}
	w.eventually(fmt.Sprintf("%d events have arrived", written), func() bool {
		clear(latest)
		again = 0
		for _, r := range w.broker.Received(w.queue.ARN) {
			var v version
			w.must(json.Unmarshal([]byte(r.Body), &v))
			switch before := latest[v.Aggregate]; {
			case v.Version <= before:
				again++
			case v.Version == before+1:
				latest[v.Aggregate]++
			default:
				w.t.Fatalf("aggregate %d: version %d arrived after %d", v.Aggregate, v.Version, before)
			}
		}
		return len(w.broker.Received(w.queue.ARN)) == written+again
	})
	return again
}

func TestRollingReplacementLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	holder := w.startStreaming()
	load := w.startWriter(10, 10*time.Millisecond)
	for range 5 {
		next := w.start()
		next.awaitLog("event=standby")
		w.awaitReceived(w.broker.ReceivedCount(w.queue.ARN) + 100)
		holder.stop()
		next.awaitLog("event=streaming")
		holder = next
	}
	written, err := load.stop()
	w.must(err)
	if again := w.checkVersions(written); again > 0 {
		t.Errorf("%d of %d events arrived twice over clean stops", again, written)
	}
}

// takeOver is one failure of the relay that holds the slot.
type takeOver struct {
	name    string
	fail    func(holder *process, between *faultproxy.Network)
	restore func(holder *process, between *faultproxy.Network) // nil if the process has ended
	// within returns the time in which the standby has to deliver, for a RELAY_WAL_SENDER_TIMEOUT.
	within func(timeout time.Duration) time.Duration
}

func signal(s syscall.Signal) func(*process, *faultproxy.Network) {
	return func(p *process, _ *faultproxy.Network) { _ = p.cmd.Process.Signal(s) }
}

func after(d time.Duration) func(time.Duration) time.Duration {
	return func(time.Duration) time.Duration { return d }
}

func atTimeout(timeout time.Duration) time.Duration { return timeout }

var takeOvers = []takeOver{
	{"clean stop", signal(syscall.SIGTERM), nil, after(time.Second)},
	{"SIGKILL", signal(syscall.SIGKILL), nil, after(3 * time.Second)},
	{"SIGSTOP", signal(syscall.SIGSTOP), signal(syscall.SIGCONT), atTimeout},
	{"cut network", func(_ *process, n *faultproxy.Network) {
		n.Silence()
	}, func(_ *process, n *faultproxy.Network) { n.Mend() }, atTimeout},
}

// The test measures from the failure of the holder until the standby has delivered an event. It
// runs once by default. With `make takeover` it runs TAKEOVER_RUNS times and holds the slowest run
// to its bound.
func TestStandbyTakesOverAfterEveryHolderFailure(t *testing.T) {
	t.Parallel()
	runs, err := strconv.Atoi(os.Getenv("TAKEOVER_RUNS"))
	measured := err == nil
	const timeout = 10 * time.Second // a holder keeps the slot while the machine stalls
	for _, c := range takeOvers {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			took := make([]time.Duration, 0, runs)
			env := "RELAY_WAL_SENDER_TIMEOUT=" + timeout.String()
			w.startStreaming(env).stop() // creates the slot while the table is empty
			load := w.startWriter(20, 50*time.Millisecond)
			for range max(runs, 1) {
				took = append(took, w.takeOver(c, load, env))
			}
			written, err := load.stop()
			w.must(err)
			w.start(env)
			again := w.checkVersions(written)
			slices.Sort(took)
			slowest := took[len(took)-1]
			t.Logf("%-11s %3d runs: min %5s, median %5s, p90 %5s, max %5s; %d events, %d arrived again", c.name,
				len(took), round(took[0]),
				round(took[len(took)/2]), round(took[len(took)*9/10]), round(slowest), written, again)
			if measured && slowest > c.within(timeout) {
				t.Errorf("the slowest takeover took %s, want at most %s", round(slowest), c.within(timeout))
			}
		})
	}
}

// takeOver starts two relays and lets the holder of the slot fail once it has caught up. It returns
// the time until the other relay has delivered an event.
func (w *testEnv) takeOver(c takeOver, load *writer, env string) time.Duration {
	w.t.Helper()
	between, through := w.newNetwork()
	holder := w.startStreaming(env, "DATABASE_URL="+through)
	standbys := func() int { return strings.Count(holder.log.String(), "event=standby") }
	before := standbys()
	standby := w.start(env)
	standby.awaitLog("event=standby")
	w.eventually("the backlog is delivered", func() bool { return len(w.bodies()) >= int(load.written.Load())-40 })
	delivered := w.endOfLog()
	w.eventually("the backlog is confirmed", func() bool { return w.confirmed(delivered) })
	began := time.Now()
	c.fail(holder, between)
	standby.awaitLog("event=streaming")
	w.awaitReceived(w.broker.ReceivedCount(w.queue.ARN) + 1)
	took := time.Since(began)
	if c.restore != nil {
		c.restore(holder, between)
		w.eventually("the former holder is a standby", func() bool { return standbys() > before })
	}
	holder.kill()
	standby.stop()
	return took
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
