package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestPageIsServedBesideTheProbes(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	listen := freeAddress(t)
	w.startStreaming("RELAY_LISTEN=" + listen)
	if code, body := w.get("http://" + listen + "/"); code != http.StatusOK ||
		!strings.Contains(body, "<title>Outbox relay</title>") {
		t.Errorf("/ answers %d\n%s", code, body)
	}
}

// The page shows a relay that serves no HTTP itself.
func TestPageNeedsOnlyTheDatabase(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.startStreaming("RELAY_LISTEN=")
	address := w.startPage()
	if code, body := w.get(address); code != http.StatusOK || !strings.Contains(body, "<title>Outbox relay</title>") {
		t.Errorf("/ answers %d\n%s", code, body)
	}
	w.eventually("the page has the relay's report", func() bool {
		code, body := w.get(address + "status")
		return code == http.StatusOK && strings.Contains(body, `"state":"streaming"`) &&
			strings.Contains(body, w.queue.ARN)
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

// eventAnswer is the answer of /events/{id}.
type eventAnswer struct {
	State, Reason string
	Accepted      []struct {
		MessageID   string `json:"message_id"`
		Destination string
		CommittedAt string `json:"committed_at"`
	}
	DeadLetters []struct{ Code string } `json:"dead_letters"`
	Unknown     []string
}

// awaitEvent waits until the page at address shows the event in this state.
func (w *testEnv) awaitEvent(address, id, state string) (found eventAnswer) {
	w.t.Helper()
	var body string
	w.eventually("event "+id+" is "+state, func() bool {
		var code int
		code, body = w.get(address + "events/" + id)
		w.must(json.Unmarshal([]byte(body), &found))
		return code == http.StatusOK && found.State == state
	})
	if strings.Contains(body, "payload") {
		w.t.Errorf("the answer has a payload: %s", body)
	}
	return found
}

// The events go to the broker and to the dead letters. A page that has only the database is asked
// for the same events.
func TestPageShowsTheStateOfAnEvent(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.refuseBody(`{"n":"bad payload"}`)
	listen := freeAddress(t)
	w.startStreaming("RELAY_LISTEN=" + listen)
	good, bad := event(t, "1", `{"n":"good payload"}`), event(t, "2", `{"n":"bad payload"}`)
	w.commit(good)
	w.commit(bad)
	receipt := w.awaitReceived(1)[0]
	relay, alone := "http://"+listen+"/", w.startPage()
	found := w.awaitEvent(relay, good.ID.String(), "accepted")
	if a := found.Accepted; len(a) != 1 || a[0].MessageID != receipt.ID || a[0].Destination != w.queue.ARN ||
		a[0].CommittedAt == "" {
		t.Errorf("the event is %+v, the message %s", found, receipt.ID)
	}
	found = w.awaitEvent(alone, good.ID.String(), "done")
	if len(found.Accepted) > 0 || !strings.Contains(strings.Join(found.Unknown, "\n"),
		"only the memory of the relay has that") {
		t.Errorf("the database alone says %+v", found)
	}
	for _, address := range []string{relay, alone} {
		found = w.awaitEvent(address, bad.ID.String(), "parked")
		if len(found.DeadLetters) != 1 || !strings.Contains(found.Reason, found.DeadLetters[0].Code) {
			t.Errorf("the refused event is %+v", found)
		}
	}
	code, body := w.get(relay + "events")
	if code != http.StatusOK || !strings.Contains(body, good.ID.String()) || !strings.Contains(body, bad.ID.String()) ||
		strings.Contains(body, "payload") {
		t.Errorf("/events answers %d\n%s", code, body)
	}
}

// startPage starts relay page, and returns the address that it prints.
func (w *testEnv) startPage(env ...string) (address string) {
	w.t.Helper()
	page := w.launch(relayBinary, env, "page")
	w.eventually("relay page prints its address", func() (printed bool) {
		address, _, printed = strings.Cut(page.stdout.String(), " ")
		return printed
	})
	return address
}
