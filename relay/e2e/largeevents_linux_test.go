package e2e_test

import (
	"strconv"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// maxLargeMemory bounds the memory of a relay with the default settings while eight events of ten
// MiB are written at once, also while it reads such events from the table beside the log.
const maxLargeMemory = 96 << 20

// largeAtOnce is the number of these events, each of an aggregate of its own.
const largeAtOnce = 8

// writeLarge writes the events, named after their aggregates. The database creates their payloads,
// because the test would take longer for that than all others do together.
func (w *testEnv) writeLarge(name string) {
	w.t.Helper()
	for i := range largeAtOnce {
		w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
			SELECT gen_random_uuid(), 'order', $1, 'order.created', concat('{"text":"', repeat('x', $2), '"}')::json`,
			name+strconv.Itoa(i), 10<<20-len(`{"text":""}`))
	}
}

// checkLargeMemory fails the test if the relay has ever used as much memory as maxLargeMemory.
func (p *process) checkLargeMemory(after string) {
	p.t.Helper()
	_, peak := p.memory()
	p.t.Logf("%s: %.1f MB at most", after, megabytes(peak))
	if peak >= maxLargeMemory {
		p.t.Errorf("%s: the relay used %.1f MB, want less than %d", after, megabytes(peak), maxLargeMemory>>20)
	}
}

// TestLargeEventsNeedBoundedMemory: all eight wait for a bucket that does not answer, from the
// table and from the log. They wait for an unavailable queue in the table, and are replayed.
// Without a bucket all are parked with their payloads, and then redriven through one.
func TestLargeEventsNeedBoundedMemory(t *testing.T) {
	t.Parallel()
	path, err := shipped()
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"plain", "cloudevents"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			start := func(t *testing.T) (w *testEnv, settings []string) {
				w = newTestEnv(t, "orders.fifo")
				w.broker.CreateBucket(bucket)
				return w, []string{"RELAY_FORMAT=" + format, "RELAY_START=table", "RELAY_LOG_LEVEL=info"}
			}
			t.Run("bucket", func(t *testing.T) {
				w, settings := start(t)
				w.writeLarge("old") // before the first start: the relay reads them from the table
				p := w.startBinary(path, append(settings, largeEvents)...)
				w.awaitReceived(largeAtOnce)
				p.checkLargeMemory("from the table")
				p.awaitLog("event=streaming")
				release := w.broker.HoldBucket(bucket)
				defer release()
				w.writeLarge("new")
				w.eventually("an upload waits", func() bool { return w.broker.Held(bucket) > 0 })
				release()
				w.awaitReceived(2 * largeAtOnce)
				p.checkLargeMemory("from the log")
			})
			t.Run("deferred", func(t *testing.T) {
				w, settings := start(t)
				settings = append(settings, largeEvents, "RELAY_PARK_AFTER=1s", "RELAY_RETRY_MAX=200ms")
				p := w.startBinary(path, settings...)
				p.awaitLog("event=streaming")
				away := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Unavailable())
				w.writeLarge("deferred")
				w.eventually("the queue is deferred", func() bool {
					return w.query(`SELECT count(*) FROM outbox_deferrals`) != "0"
				})
				p.checkLargeMemory("deferred")
				away.Clear()
				w.awaitReceived(largeAtOnce)
				p.checkLargeMemory("from its deferral")
				w.awaitDelivered()
				w.replay("--since", "1h", "--yes")
				w.awaitReceived(2 * largeAtOnce)
				p.checkLargeMemory("replayed")
			})
			t.Run("no bucket", func(t *testing.T) {
				w, settings := start(t)
				p := w.startBinary(path, settings...)
				p.awaitLog("event=streaming")
				w.writeLarge("parked")
				w.eventually("all are parked", func() bool {
					return w.query(`SELECT count(*) FROM outbox_dead_letters`) == strconv.Itoa(largeAtOnce)
				})
				p.checkLargeMemory("parked")
				p.stop()
				p = w.startBinary(path, append(settings, largeEvents)...)
				p.awaitLog("event=streaming")
				w.redriveAll()
				w.awaitReceived(largeAtOnce)
				p.checkLargeMemory("redriven")
			})
		})
	}
}
