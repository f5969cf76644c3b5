package e2e_test

import (
	"strconv"
	"testing"
)

// maxLargeMemory bounds the memory of a relay with a bucket for large events, by their format. A
// structured CloudEvent is a copy of the payload.
var maxLargeMemory = map[string]int{"plain": 96 << 20, "cloudevents": 128 << 20}

// TestLargeEventsNeedBoundedMemory: eight events of ten MiB at once, from the table and from the
// log.
func TestLargeEventsNeedBoundedMemory(t *testing.T) {
	t.Parallel()
	for format, limit := range maxLargeMemory {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			w.broker.CreateBucket(bucket)
			path, err := shipped()
			w.must(err)
			const events = 8
			for i := range events { // before the first start: the relay reads them from the table
				w.commit(largeEvent(t, "old"+strconv.Itoa(i), i, 10<<20))
			}
			p := w.startBinary(path, largeEvents, "RELAY_FORMAT="+format, "RELAY_START=table", "RELAY_LOG_LEVEL=info")
			p.awaitLog("event=streaming")
			w.awaitReceived(events)
			_, recovered := p.memory()
			for i := range events {
				w.commit(largeEvent(t, "new"+strconv.Itoa(i), i, 10<<20))
			}
			w.awaitReceived(2 * events)
			_, peak := p.memory()
			t.Logf("%s: at most %.1f MB from the table, %.1f MB in all", format, megabytes(recovered), megabytes(peak))
			if peak >= limit {
				t.Errorf("the relay used %.1f MB, want less than %d", megabytes(peak), limit>>20)
			}
		})
	}
}
