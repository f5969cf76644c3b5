package e2e_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// partitionsWithEqualSeqs replaces the outbox table by one of three partitions, whose rows were
// numbered from 1 in each before they became partitions. The new rows have one sequence.
func (w *testEnv) partitionsWithEqualSeqs() {
	w.t.Helper()
	w.partitionByTime()
	w.exec(`DROP TABLE today`)
	w.exec(`SELECT setval('numbers', 301)`)
	for i, year := range []int{2024, 2025, 2026} {
		name := fmt.Sprintf("ev_%d", year)
		w.exec(`CREATE TABLE ` + name + ` (LIKE outbox_events INCLUDING DEFAULTS, UNIQUE (seq))`)
		w.exec(fmt.Sprintf(`INSERT INTO %s (seq, aggregate_type, aggregate_id, payload, created_at)
			SELECT i, 'order', (i %% 7)::text, %d + i, '%d-02-01' FROM generate_series(1, 300) AS i`,
			name, i*300, year))
		w.exec(fmt.Sprintf(`ALTER TABLE outbox_events ATTACH PARTITION %s
			FOR VALUES FROM ('%d-01-01') TO ('%d-01-01')`, name, year, year+1))
	}
}

// A recovery and a replay read the table in pages. No page ends between two rows of one seq.
func TestRowsOfEqualSeqsAreRecovered(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.partitionsWithEqualSeqs()
	w.startStreaming("RELAY_START=table")
	w.awaitOnce(each(1, 900))
	w.awaitHorizon()

	output, err := w.command(nil, "replay", "--since=2000-01-01T00:00:00Z", "--rate=10000", "--yes")
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	w.eventually("every event has arrived again", func() bool { return w.arrivedTimes(2) })
}

// The position of a recovery is stored while it runs. A relay that dies between two rows of one seq
// reads both again.
func TestAKillBetweenEqualSeqsLosesNone(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.partitionsWithEqualSeqs()
	for _, seq := range []int{70, 170} {
		held := w.holdAllButOne(seq)
		p := w.start("RELAY_START=table", "RELAY_WINDOW_EVENTS=10")
		w.eventually("the relay has stored how far it is", func() bool {
			return w.query(`SELECT (coalesce(max(recovered_seq), 0) >= $1::bigint - 1
				AND max(updated_at) < clock_timestamp() - interval '2 seconds')::text
				FROM relay_checkpoints`, seq) == "true"
		})
		p.kill()
		held.Clear()
	}
	w.startStreaming("RELAY_START=table")
	w.eventually("every event has arrived", func() bool { return w.arrivedTimes(1) })
}

// holdAllButOne refuses the messages of a seq, except those of the first row of that seq that the
// relay sends.
func (w *testEnv) holdAllButOne(seq int) *fakeaws.Rule {
	var mu sync.Mutex
	var first string
	return w.broker.Script(fakeaws.Match{Action: "SendMessageBatch", Entry: func(m *fakeaws.Message) bool {
		n, _ := strconv.Atoi(m.Body)
		if (n-1)%300+1 != seq {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		if first == "" {
			first = m.Body
		}
		return m.Body != first
	}}, fakeaws.FailEntries("InternalFailure", "try again", false))
}

// arrivedTimes reports whether each of the events has arrived so often, or more often.
func (w *testEnv) arrivedTimes(times int) bool {
	got := w.bodies()
	for body := range each(1, 900) {
		if got[body] < times {
			return false
		}
	}
	return true
}
