package e2e_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// TestReadyzNamesDestinationsInTrouble: the relay stays ready, as no restart repairs a destination.
func TestReadyzNamesDestinationsInTrouble(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	listen := freeAddress(t)
	w.startStreaming("RELAY_LISTEN=" + listen)
	if _, body := w.get("http://" + listen + "/readyz"); strings.Contains(body, "destinations") {
		t.Errorf("without trouble it says %s", body)
	}
	gone := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"},
		fakeaws.Refuse(http.StatusBadRequest, "QueueDoesNotExist", "no such queue"))
	w.commit(event(t, "1", `{"n":1}`))
	w.eventually("/readyz names the destination", func() bool {
		status, body := w.get("http://" + listen + "/readyz")
		return status == http.StatusOK && strings.Contains(body, `"name":"`+w.queue.ARN+`","state":"unavailable"`) &&
			strings.Contains(body, `"code":"QueueDoesNotExist"`)
	})
	unavailable := `relay_destination_unavailable{destination="` + w.queue.ARN + `"} `
	w.eventually("/metrics says the same", func() bool {
		_, body := w.get("http://" + listen + "/metrics")
		return strings.Contains(body, unavailable+"1\n")
	})
	gone.Clear()
	w.awaitBody(`{"n":1}`)
	w.eventually("nothing is in trouble", func() bool {
		_, ready := w.get("http://" + listen + "/readyz")
		_, metrics := w.get("http://" + listen + "/metrics")
		return !strings.Contains(ready, "destinations") && strings.Contains(metrics, unavailable+"0\n")
	})
}
