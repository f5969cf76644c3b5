package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

func TestUnavailableBrokerDelaysNoServerShutdown(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	w := newTestEnvOn(t, server.URL("relay", "relay"), "orders")
	hanging := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Hang())
	// longer than the bound below, so neither timeout ends the wait
	w.startStreaming("RELAY_WAL_SENDER_TIMEOUT=60s", "RELAY_REQUEST_TIMEOUT=60s")
	w.commit(event(t, "1", `{"n":1}`))
	w.must(hanging.AwaitHits(t.Context(), 1))
	w.pool.Reset()
	began := time.Now()
	w.must(server.Stop(pgtest.Fast))
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the server needed %v to shut down", took)
	} else {
		t.Logf("the server shut down in %v", took.Round(time.Millisecond))
	}
	w.must(server.Restart(t.Context()))
	hanging.Clear()
	w.awaitBody(`{"n":1}`)
}

func TestRelayContinuesAfterAServerCrash(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	w := newTestEnvOn(t, server.URL("relay", "relay"), "orders.fifo")
	w.startStreaming()
	for i := range 100 {
		w.commit(event(t, fmt.Sprint(i), fmt.Sprintf(`{"n":%d}`, i)))
	}
	w.pool.Reset()
	w.must(server.Kill())
	w.must(server.Restart(t.Context()))
	w.awaitAll(100)
	w.commit(event(t, "after", `{"after":true}`))
	w.awaitBody(`{"after":true}`)
}
