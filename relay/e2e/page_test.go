package e2e_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestPageIsServedBesideTheProbes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "orders.fifo")
	listen := freeAddress(t)
	w.startStreaming("RELAY_LISTEN=" + listen)
	if code, body := w.get("http://" + listen + "/"); code != http.StatusOK || !strings.Contains(body, "<title>Outbox relay</title>") {
		t.Errorf("/ answers %d\n%s", code, body)
	}
}

// TestPageComesFromTheDatabaseAlone serves the page of a relay that nothing but the database knows.
func TestPageComesFromTheDatabaseAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "orders.fifo")
	w.startStreaming("RELAY_LISTEN=")
	address := w.startPage()
	if code, body := w.get(address); code != http.StatusOK || !strings.Contains(body, "<title>Outbox relay</title>") {
		t.Errorf("/ answers %d\n%s", code, body)
	}
	w.eventually("the page has the relay's report", func() bool {
		code, body := w.get(address + "status")
		return code == http.StatusOK && strings.Contains(body, `"state":"streaming"`) && strings.Contains(body, w.queue.ARN)
	})
	request, err := http.NewRequest(http.MethodGet, address+"status", nil)
	w.must(err)
	request.Host = "another.example"
	response, err := http.DefaultClient.Do(request)
	w.must(err)
	response.Body.Close()
	if response.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("a request to another name is answered with %s", response.Status)
	}
}

// startPage starts relay page, and returns the address that it prints.
func (w *world) startPage(env ...string) (address string) {
	w.t.Helper()
	page := w.launch(relayBinary, env, "page")
	w.eventually("relay page prints its address", func() (printed bool) {
		address, _, printed = strings.Cut(page.stdout.String(), " ")
		return printed
	})
	return address
}
