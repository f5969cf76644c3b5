package e2e_test

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// TestAnAwaitedStandbyIsNamed: the server holds the log back, and tells only its own log.
func TestAnAwaitedStandbyIsNamed(t *testing.T) {
	t.Parallel()
	server := newServerOf(t, pgtest.Options{
		AtLeast:  17,
		Settings: map[string]string{"synchronized_standby_slots": "gone"},
	})
	w := newTestEnvOn(t, server.URL("relay", "relay"), "orders")
	p := w.startStreaming()
	w.commit(event(t, "1", `{"n":1}`))
	p.awaitLog("event=standbys_awaited")
	w.eventually("the status names the setting", func() bool {
		output, _ := w.command(nil, "status")
		return strings.Contains(output, "synchronized_standby_slots = 'gone'")
	})
}
