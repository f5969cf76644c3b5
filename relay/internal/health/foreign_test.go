package health_test

import (
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/metrics"
)

// answer returns the status and the body of a request to address that names host.
func answer(t *testing.T, address, host, path string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// TestASiteCannotReadALocalRelay: an address that others reach has names that the relay cannot
// know.
func TestASiteCannotReadALocalRelay(t *testing.T) {
	t.Parallel()
	h := health.New(metrics.New())
	h.Page = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "secret") })
	const site = "evil.example"
	for listen, want := range map[string]int{
		freeAddress(t): http.StatusMisdirectedRequest, ":" + portOf(t, freeAddress(t)): http.StatusOK,
	} {
		if _, err := h.Serve(t.Context(), listen); err != nil {
			t.Fatal(err)
		}
		address := "127.0.0.1:" + portOf(t, listen)
		for _, path := range []string{"/status", "/", "/metrics"} {
			if status, _ := answer(t, address, site, path); status != want {
				t.Errorf("%s: %s answers %d to a site", listen, path, status)
			}
			if status, _ := answer(t, address, "localhost", path); status != http.StatusOK {
				t.Errorf("%s: %s answers %d to this machine", listen, path, status)
			}
		}
		status, body := answer(t, address, site, "/livez")
		if shown := body != ""; status != http.StatusOK || shown != (want == http.StatusOK) {
			t.Errorf("%s: a probe answers %d %q to a site", listen, status, body)
		}
	}
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
