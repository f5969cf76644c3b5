package e2e_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// exitCode returns the exit code of a command that ended with err.
func exitCode(err error) int {
	var ended *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ended):
		return ended.ExitCode()
	}
	return -1
}

// awaitStatus waits until relay status ends with this exit code and prints this text. It returns
// the whole output.
func (w *testEnv) awaitStatus(code int, text string, env ...string) (output string) {
	w.t.Helper()
	defer func() {
		if w.t.Failed() {
			w.t.Logf("relay status says last:\n%s", output)
		}
	}()
	w.eventually("relay status says "+text, func() bool {
		var err error
		output, err = w.command(env, "status")
		return exitCode(err) == code && strings.Contains(output, text)
	})
	return output
}

func TestStatusNamesTheFailingDestination(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.startStreaming()
	w.awaitStatus(0, "streaming for")
	gone := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"},
		fakeaws.Refuse(http.StatusBadRequest, "QueueDoesNotExist", "no such queue"))
	w.commit(event(t, "1", `{"n":1}`))
	output := w.awaitStatus(1, "QueueDoesNotExist")
	for _, text := range []string{
		"warning: " + w.queue.ARN + " has accepted nothing since", "next: ",
		"Delivery delayed", "1 read and not delivered",
	} {
		if !strings.Contains(output, text) {
			t.Errorf("%q is missing in\n%s", text, output)
		}
	}
	gone.Clear()
	w.awaitStatus(0, "1 delivered")
}

func TestStatusShowsRelayStandbyAndTakeover(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.awaitStatus(2, "none has ever reported")
	holder := w.startStreaming()
	standby := w.start()
	output := w.awaitStatus(0, "standby for")
	if !strings.Contains(output, "streaming for") {
		t.Errorf("the holder is missing in\n%s", output)
	}
	holder.stop()
	w.awaitStatus(0, "stopped on")
	standby.awaitLog("event=streaming")
	w.awaitStatus(0, "streaming for")
	standby.stop()
	w.awaitStatus(2, "no relay runs: the last one")
}

func TestStatusKeepsTheLastGap(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.startStreaming().stop()
	w.dropSlot()
	w.awaitStatus(2, "cannot bring every event: the slot is gone")
	w.startStreaming()
	w.awaitStatus(0, "the slot is gone; published from the table until")
}

func TestStatusSaysWhyNoRelayStreams(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.startStreaming()
	w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE outbox_events`)
	w.awaitStatus(2, "does not stream every row")
}

func TestStatusIsUnknownWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	output, err := w.command([]string{"DATABASE_URL=postgres://nobody@127.0.0.1:1/none"}, "status")
	if exitCode(err) != 3 || !strings.Contains(output, "127.0.0.1") {
		t.Errorf("relay status ends with %v: %s", err, output)
	}
}

// The test compares the JSON of the command with the answer of /status.
func TestStatusEndpointEqualsTheCommand(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	listen := freeAddress(t)
	w.startStreaming("RELAY_LISTEN=" + listen)
	w.commit(event(t, "1", `{"n":1}`))
	w.awaitReceived(1)
	w.awaitStatus(0, "1 delivered")
	type status struct {
		Version int
		Level   string
		Relays  []struct {
			State        string
			Instance     string
			Destinations []struct {
				Name      string
				Delivered int
			}
		}
	}
	var printed, served status
	output, err := w.command(nil, "status", "--json")
	w.must(err)
	w.must(json.Unmarshal([]byte(output), &printed))
	code, body := w.get("http://" + listen + "/status")
	w.must(json.Unmarshal([]byte(body), &served))
	if code != http.StatusOK || printed.Version != 1 || printed.Level != "ok" || len(printed.Relays) != 1 ||
		len(served.Relays) != 1 ||
		printed.Relays[0].Instance != served.Relays[0].Instance || served.Relays[0].State != "streaming" {
		t.Errorf("relay status --json says\n%s\n/status says %d\n%s", output, code, body)
	}
	if d := printed.Relays[0].Destinations; len(d) != 1 || d[0].Name != w.queue.ARN || d[0].Delivered != 1 {
		t.Errorf("the destinations are %+v", d)
	}
}

// /status still shows the facts that the relay knows without the database.
func TestStatusEndpointOutlivesTheDatabase(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	between, through := w.newNetwork()
	listen := freeAddress(t)
	w.startStreaming("RELAY_LISTEN="+listen, "DATABASE_URL="+through)
	between.Close()
	var code int
	var body string
	w.eventually("/status says that the database does not answer", func() bool {
		code, body = w.get("http://" + listen + "/status")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "database_unreachable")
	})
}

// The destination does not answer at first, and refuses the event afterwards, which is parked then.
func TestStatusFollowsTheLastFailure(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.startStreaming("RELAY_REQUEST_TIMEOUT=500ms")
	requests := fakeaws.Match{Action: "SendMessageBatch"}
	hangs := w.broker.Script(requests, fakeaws.Hang())
	w.commit(event(t, "1", `{"n":1}`))
	w.awaitStatus(1, w.queue.ARN+" unavailable for")
	w.broker.Script(requests, fakeaws.FailEntries("InvalidMessageContents", "not this one", true))
	hangs.Clear()
	output := w.awaitStatus(1, w.queue.ARN+" refusing for")
	if !strings.Contains(output, "refuses events, and has accepted none since") || strings.Contains(output, "timeout") {
		t.Errorf("relay status says\n%s", output)
	}
	w.awaitStatus(1, "1 event is parked: 1 InvalidMessageContents")
	w.eventually("the destination is in order once the event is parked", func() bool {
		output, err := w.command(nil, "status")
		return exitCode(err) == 1 && !strings.Contains(output, "refusing") && !strings.Contains(output, "unavailable")
	})
}
