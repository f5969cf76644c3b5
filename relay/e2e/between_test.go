package e2e_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/faultproxy"
)

// betweenStreams is a relay between the two streams of a recovery that keeps its slot. The first
// stream has ended and the second one is held back, so the slot is free.
type betweenStreams struct {
	*testEnv
	relay  *process
	second *faultproxy.Stop
}

func newBetweenStreams(t *testing.T) betweenStreams {
	t.Helper()
	w := newTestEnv(t, "orders.fifo")
	w.startStreaming().stop()
	w.commit(event(t, "1", `{"n":0}`))
	w.exec(`DELETE FROM outbox_events`)
	w.commit(event(t, "1", `{"n":1}`))
	w.recover("--yes")
	between, through := w.newNetwork()
	reading := between.HoldBack("WITH page AS")
	relay := w.start("DATABASE_URL=" + through)
	w.await(reading)
	second := between.HoldBack("START_REPLICATION")
	reading.Pass()
	w.await(second)
	return betweenStreams{w, relay, second}
}

// A recovery that keeps its slot starts its stream twice. A checkpoint may be written between the
// two.
func TestAReleaseBetweenStreamsEndsNoSession(t *testing.T) {
	t.Parallel()
	w := newBetweenStreams(t)
	const free = `SELECT active::text FROM pg_replication_slots WHERE slot_name = $1`
	w.eventually("the slot is free", func() bool { return w.query(free, w.slot) == "false" })
	w.awaitCheckpoint() // by an observation that found the slot free
	w.second.Pass()
	w.awaitEach(2)
	w.awaitRecovered()
	if strings.Contains(w.relay.log.String(), "event=session_ended") {
		t.Error("the session ended")
	}
}

// Another relay acquires the slot between the two streams of the first relay.
func TestAnotherHolderBetweenStreamsIsDetected(t *testing.T) {
	t.Parallel()
	w := newBetweenStreams(t)
	other := w.startStreaming()
	w.relay.awaitLog("no longer the holder")
	w.second.Pass()
	w.commit(event(t, "1", `{"n":2}`))
	w.awaitEach(3)
	other.stop()
}

// The server releases the slot at once. The relay still delivers the earlier events, which takes
// longer than its lease.
func TestUndecodableLogIsPassedWithASlowBroker(t *testing.T) {
	t.Parallel()
	const events = 200
	w := newTestEnvOf(t, 15, "orders") // Postgres 18 skips such a part of the log.
	env := []string{"RELAY_WAL_SENDER_TIMEOUT=2s", "RELAY_WINDOW_EVENTS=10"}
	w.startStreaming(env...).stop()
	for n := range events {
		w.commit(event(t, strconv.Itoa(n), fmt.Sprintf(`{"n":%d}`, n)))
	}
	w.exec(`DELETE FROM outbox_events`)
	w.exec(`DROP PUBLICATION outbox_pub`)
	w.commit(event(t, "1", fmt.Sprintf(`{"n":%d}`, events)))
	w.exec(`CREATE PUBLICATION outbox_pub FOR TABLE outbox_events
		WITH (publish = 'insert', publish_via_partition_root = true)`)
	w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Delay(200*time.Millisecond))
	w.start(env...)
	w.awaitEach(events + 1)
	w.awaitRecovered()
}
