package e2e_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/binding"
	cloudevent "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/inbox"
)

// TestCloudEventsAreReadByTheSDKs: the SDKs for Go and for JavaScript find in every message what
// the row has, in each format.
func TestCloudEventsAreReadByTheSDKs(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	topic, err := w.broker.CreateTopic("orders.fifo", nil)
	w.must(err)
	_, err = w.broker.Subscribe(topic, w.queue.ARN, map[string]string{"RawMessageDelivery": "true"})
	w.must(err)
	w.exec(`ALTER TABLE outbox_events ADD schema text, ALTER payload TYPE text`)
	w.startStreaming("RELAY_DESTINATION="+topic, "RELAY_FORMAT=cloudevents; event:binary.*=cloudevents-binary",
		`RELAY_CLOUDEVENTS_ATTRIBUTES=source='https://shop.example/orders,all',dataschema=schema`)
	for _, kind := range []string{"structured.made", "binary.made"} {
		for _, payload := range []string{`{"total": 12.50, "note": "ü\u0041"}`, `<order id="1"/>`} {
			w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, headers, schema)
				VALUES (gen_random_uuid(), 'order', 'ü 1', $1, $2, '{"traceparent": "00-0af7-b7ad-01"}',
				'urn:order:1')`,
				kind, payload)
		}
	}
	received := w.awaitReceived(4)
	for sdk, read := range map[string]func(*testing.T, []fakeaws.Receipt) []cloudevent.Event{
		"Go": readByGo, "JavaScript": readByJavaScript,
	} {
		t.Run(sdk, func(t *testing.T) {
			t.Parallel()
			for i, e := range read(t, received) {
				checkCloudEvent(t, e, received[i])
			}
		})
	}
}

// checkCloudEvent compares what an SDK has read with what the inbox reads.
func checkCloudEvent(t *testing.T, e cloudevent.Event, received fakeaws.Receipt) {
	t.Helper()
	m := inbox.Message{Body: received.Body, Attributes: map[string]string{}}
	for _, a := range received.Attributes {
		m.Attributes[a.Name] = a.StringValue
	}
	want, err := inbox.Decode(m)
	if err != nil {
		t.Fatal(err)
	}
	kind, _, _ := strings.Cut(e.Type(), ".")
	isBinary := m.Attributes["ce-specversion"] != ""
	if isBinary != (kind == "binary") || e.ID() != want.ID || e.Type() != want.Type || e.Subject() != "ü 1" ||
		e.Source() != "https://shop.example/orders,all" || e.DataSchema() != "urn:order:1" ||
		e.Extensions()["aggregatetype"] != "order" || want.AggregateID != "ü 1" || want.Sequence == nil ||
		want.Headers["traceparent"] != "00-0af7-b7ad-01" && !isBinary {
		t.Errorf("read %s of %+v", e, received)
	}
	if strings.HasPrefix(string(want.Payload), "{") {
		equalJSON(t, string(want.Payload), string(e.Data()))
	} else if string(e.Data()) != string(want.Payload) {
		t.Errorf("data %q, want %q", e.Data(), want.Payload)
	}
}

// equalJSON compares documents, as an SDK may parse the data and write it again.
func equalJSON(t *testing.T, want, got string) {
	t.Helper()
	var a, b any
	if json.Unmarshal([]byte(want), &a) != nil || json.Unmarshal([]byte(got), &b) != nil {
		t.Errorf("no JSON: %q, want %q", got, want)
		return
	}
	first, _ := json.Marshal(a)
	second, _ := json.Marshal(b)
	if string(first) != string(second) {
		t.Errorf("data %s, want %s", got, want)
	}
}

// readByGo has the SDK for Go read each message as it reads a request of HTTP.
func readByGo(t *testing.T, received []fakeaws.Receipt) (events []cloudevent.Event) {
	t.Helper()
	for _, r := range received {
		request := &http.Request{Header: http.Header{}, Body: io.NopCloser(strings.NewReader(r.Body))}
		for _, a := range r.Attributes {
			request.Header.Set(a.Name, a.StringValue)
		}
		e, err := binding.ToEvent(t.Context(), cehttp.NewMessageFromHttpRequest(request))
		if err == nil {
			err = e.Validate()
		}
		if err != nil {
			t.Fatalf("%v: %+v", err, r)
		}
		events = append(events, *e)
	}
	return events
}

// readByJavaScript does the same with the SDK for JavaScript, which writes what it has read as
// structured events. CI has Node.js, so the test fails there without it.
func readByJavaScript(t *testing.T, received []fakeaws.Receipt) (events []cloudevent.Event) {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil && os.Getenv("CI") == "" {
			t.Skip("THE JAVASCRIPT SDK IS NOT TESTED: Node.js is not installed")
		}
	}
	type message struct {
		Headers map[string]string `json:"headers"`
		Body    string            `json:"body"`
	}
	var messages []message
	for _, r := range received {
		m := message{Headers: map[string]string{}, Body: r.Body}
		for _, a := range r.Attributes {
			m.Headers[a.Name] = a.StringValue
		}
		messages = append(messages, m)
	}
	input, err := json.Marshal(messages)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "read.js"} {
		content, err := os.ReadFile(filepath.Join("testdata", "cloudevents", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	runIn(t, dir, "", "npm", "ci", "--no-audit", "--no-fund", "--prefer-offline")
	if err := json.Unmarshal(runIn(t, dir, string(input), "node", "read.js"), &events); err != nil {
		t.Fatal(err)
	}
	return events
}

// runIn runs a command in a folder, and returns what it prints.
func runIn(t *testing.T, dir, input, name string, arguments ...string) []byte {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, arguments...)
	var complaints strings.Builder
	command.Dir, command.Stdin, command.Stderr = dir, strings.NewReader(input), &complaints
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", name, err, output, complaints.String())
	}
	return output
}
