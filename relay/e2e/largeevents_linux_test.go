package e2e_test

import (
	"strconv"
	"testing"
)

// maxLargeMemory bounds the memory of a relay with the default settings while eight events of ten
// MiB are written at once. maxCopiedMemory does so where the relay needs copies of a payload: for a
// structured CloudEvent, and for a dead letter.
const maxLargeMemory, maxCopiedMemory = 112 << 20, 144 << 20

// largeAtOnce is the number of these events, each of an aggregate of its own.
const largeAtOnce = 8

// writeLarge writes the events, named after their aggregates.
func (w *testEnv) writeLarge(name string) {
	w.t.Helper()
	for i := range largeAtOnce {
		w.commit(largeEvent(w.t, name+strconv.Itoa(i), i, 10<<20))
	}
}

// checkLargeMemory fails the test if the relay has ever used as much memory as limit.
func (p *process) checkLargeMemory(after string, limit int) {
	p.t.Helper()
	_, peak := p.memory()
	p.t.Logf("%s: %.1f MB at most", after, megabytes(peak))
	if peak >= limit {
		p.t.Errorf("%s: the relay used %.1f MB, want less than %d", after, megabytes(peak), limit>>20)
	}
}

// TestLargeEventsNeedBoundedMemory: all eight wait for a bucket that does not answer, from the
// table and from the log. Without a bucket all are parked with their payloads, and then redriven
// through one.
func TestLargeEventsNeedBoundedMemory(t *testing.T) {
	t.Parallel()
	path, err := shipped()
	if err != nil {
		t.Fatal(err)
	}
	for format, limit := range map[string]int{"plain": maxLargeMemory, "cloudevents": maxCopiedMemory} {
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
				p.checkLargeMemory("from the table", limit)
				p.awaitLog("event=streaming")
				release := w.broker.HoldBucket(bucket)
				defer release()
				w.writeLarge("new")
				w.eventually("an upload waits", func() bool { return w.broker.Held(bucket) > 0 })
				release()
				w.awaitReceived(2 * largeAtOnce)
				p.checkLargeMemory("from the log", limit)
			})
			t.Run("no bucket", func(t *testing.T) {
				w, settings := start(t)
				p := w.startBinary(path, settings...)
				p.awaitLog("event=streaming")
				w.writeLarge("parked")
				w.eventually("all are parked", func() bool {
					return w.query(`SELECT count(*) FROM outbox_dead_letters`) == strconv.Itoa(largeAtOnce)
				})
				p.checkLargeMemory("parked", maxCopiedMemory)
				p.stop()
				p = w.startBinary(path, append(settings, largeEvents)...)
				p.awaitLog("event=streaming")
				w.redriveAll()
				w.awaitReceived(largeAtOnce)
				p.checkLargeMemory("redriven", maxCopiedMemory)
			})
		})
	}
}
