package stack

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestStatusTellsStreamingFromStandby(t *testing.T) {
	t.Parallel()
	const slot = `"slot":{"name":"s","active":true,"delivery_lag_bytes":12}`
	const other = `"relays":[{"host":"h1","state":"standby"},{"host":"h2","state":"streaming"}],`
	for _, c := range []struct{ readyz, status, text, problem string }{
		{"streaming", "{" + slot + "}", "streams: slot s is 12 bytes of log behind", ""},
		{"standby", "{" + other + slot + "}", "stands by for the relay on h2: slot s is 12 bytes of log behind", ""},
		{"recovering", "{" + slot + "}", "publishes from the table: slot s", ""},
		{
			"streaming", `{"problems":[{"level":"warning","problem":"3 parked","next":"list them"}],` + slot + "}",
			"warning: 3 parked (list them)", "",
		},
		{
			"streaming", `{"problems":[{"level":"critical","problem":"topic away","next":"create it"}],` + slot + "}",
			"", "critical: topic away (create it)",
		},
	} {
		mux := http.NewServeMux()
		ready := fmt.Sprintf(`{"state":%q,"slot":"outbox_relay"}`, c.readyz)
		for page, body := range map[string]string{"/readyz": ready, "/status": c.status} {
			mux.HandleFunc(page, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
		}
		server := httptest.NewServer(mux)
		s := New(Settings{Ports: Ports{Relay: server.Listener.Addr().(*net.TCPAddr).Port}})
		text, err := s.relayStatus(t.Context())
		server.Close()
		if !strings.Contains(text, c.text) || !strings.Contains(fmt.Sprint(err), c.problem) {
			t.Errorf("%s with %s: %q, %v; want %q, %q", c.readyz, c.status, text, err, c.text, c.problem)
		}
	}
}
