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

// betweenStreams is a relay whose recovery beside the slot has ended its first stream, and whose second
// one is held back. So the slot is free.
type betweenStreams struct {
	*world
	relay  *process
	second *faultproxy.Stop
}

func newBetweenStreams(t *testing.T) betweenStreams {
	t.Helper()
	w := newWorld(t, "orders.fifo")
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

// TestAReleaseBetweenStreamsEndsNoSession: a recovery beside the slot starts its stream twice, and a
// checkpoint may fall in between.
func TestAReleaseBetweenStreamsEndsNoSession(t *testing.T) {
	t.Parallel()
	w := newBetweenStreams(t)
	const free = `SELECT active::text FROM pg_replication_slots WHERE slot_name = $1`
	w.eventually("the slot is free", func() bool { return w.query(free, w.slot) == "false" })
	w.awaitCheckpoint() // by a look that found the slot free
	w.second.Pass()
	w.awaitEach(2)
	w.awaitRecovered()
	if strings.Contains(w.relay.log.String(), "event=session_ended") {
		t.Error("the session ended")
	}
}

// TestAnotherRelayInBetweenIsSeen: it acquires the slot while the stream of the first is between two starts.
func TestAnotherRelayInBetweenIsSeen(t *testing.T) {
	t.Parallel()
	w := newBetweenStreams(t)
	other := w.startStreaming()
	w.relay.awaitLog("no longer the holder")
	w.second.Pass()
	w.commit(event(t, "1", `{"n":2}`))
	w.awaitEach(3)
	other.stop()
}

// TestASlowBrokerPassesALogThatCannotBeDecoded: the server releases the slot at once, while the relay
// still delivers what came before, for longer than its lease.
func TestASlowBrokerPassesALogThatCannotBeDecoded(t *testing.T) {
	t.Parallel()
	const events = 200
	w := newWorldOf(t, 15, "orders") // Postgres 18 skips such a part of the log
	env := []string{"RELAY_WAL_SENDER_TIMEOUT=2s", "RELAY_WINDOW_EVENTS=10"}
	w.startStreaming(env...).stop()
	for n := range events {
		w.commit(event(t, strconv.Itoa(n), fmt.Sprintf(`{"n":%d}`, n)))
	}
	w.exec(`DELETE FROM outbox_events`)
	w.exec(`DROP PUBLICATION outbox_pub`)
	w.commit(event(t, "1", fmt.Sprintf(`{"n":%d}`, events)))
	w.exec(`CREATE PUBLICATION outbox_pub FOR TABLE outbox_events WITH (publish = 'insert', publish_via_partition_root = true)`)
	w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Delay(200*time.Millisecond))
	w.start(env...)
	w.awaitEach(events + 1)
	w.awaitRecovered()
}
