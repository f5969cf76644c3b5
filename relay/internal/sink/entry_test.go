package sink_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

func TestADetailHasMetadataAndTheBody(t *testing.T) {
	t.Parallel()
	id := sink.Attribute{Name: "event_id", Value: "1"}
	for want, m := range map[string]sink.Message{
		`{"metadata":{"event_id":"1"},"data":{"n": 1.0}}`: {Body: `{"n": 1.0}`, Attributes: []sink.Attribute{id}},
		`{"metadata":{"event_id":"1","sequence":4711},"data":[]}`: {
			Body:       `[]`,
			Attributes: []sink.Attribute{id, {Name: "sequence", DataType: sink.Number, Value: "4711"}},
		},
		`{"metadata":{"sequence":"99999999999999999999"},"data":null}`: {
			Body:       `null`,
			Attributes: []sink.Attribute{{Name: "sequence", DataType: sink.Number, Value: "99999999999999999999"}},
		},
		`{"metadata":{"sequence":"-07"},"data":-0.5e3}`: {
			Body:       `-0.5e3`,
			Attributes: []sink.Attribute{{Name: "sequence", DataType: sink.Number, Value: "-07"}},
		},
		`{"metadata":{"tenant":"4711"},"data":"text"}`: {
			Body: `"text"`, Attributes: []sink.Attribute{{Name: "tenant", Value: "4711"}},
		},
		`{"metadata":{"tenant":"\"\\"},"text":"<a href=\"/\">\n"}`: {
			Body: "<a href=\"/\">\n", Attributes: []sink.Attribute{{Name: "tenant", Value: `"\`}},
		},
		`{"metadata":{"payload_encoding":"base64"},"text":"1234"}`: {
			Body: "1234", Attributes: []sink.Attribute{{Name: "payload_encoding", Value: "base64"}},
		},
		`{"metadata":{},"text":"{} {}"}`: {Body: "{} {}"},
	} {
		got := string(sink.AppendDetail(nil, &m))
		if got != want {
			t.Errorf("%q becomes %s, want %s", m.Body, got, want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%s is no JSON", got)
		}
		entry := sink.Entry{Source: "shop"}
		if size := entry.Size(&m); size != len("shop")+len("event")+len(want) {
			t.Errorf("%s has %d bytes", got, size)
		}
	}
}

func TestTheDetailTypeIsTheTypeOfTheEvent(t *testing.T) {
	t.Parallel()
	typed, untyped := &sink.Message{Type: "order.created"}, &sink.Message{}
	for want, got := range map[string]string{
		"order.created": (&sink.Entry{}).Type(typed),
		"event":         (&sink.Entry{}).Type(untyped),
		"fixed":         (&sink.Entry{DetailType: "fixed"}).Type(typed),
	} {
		if got != want {
			t.Errorf("the detail-type is %q, want %q", got, want)
		}
	}
}

// FuzzAppendDetail: whatever a message holds, its detail is a JSON object with the same attributes
// and body.
func FuzzAppendDetail(f *testing.F) {
	f.Add(`{"n":1}`, "event_id", "0198a6", false)
	f.Add("text\x00\"", "a\\b", "\u2028", true)
	f.Add(" 12 ", "n", "-9223372036854775808", true)
	f.Fuzz(func(t *testing.T, body, name, value string, number bool) {
		if !outbox.ValidText(body) || !outbox.ValidText(name) || !outbox.ValidText(value) {
			return
		}
		a := sink.Attribute{Name: name, Value: value}
		if number {
			a.DataType = sink.Number
		}
		var detail struct {
			Metadata map[string]any
			Data     json.RawMessage
			Text     *string
		}
		text := sink.AppendDetail(nil, &sink.Message{Body: body, Attributes: []sink.Attribute{a}})
		decoder := json.NewDecoder(strings.NewReader(string(text)))
		decoder.UseNumber()
		if err := decoder.Decode(&detail); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		got := detail.Metadata[name]
		if n, isNumber := got.(json.Number); isNumber {
			got = n.String()
		}
		if got != value {
			t.Errorf("attribute %q became %v in %s", value, got, text)
		}
		same := string(detail.Data) == strings.TrimSpace(body)
		if detail.Text != nil {
			same = *detail.Text == body
		}
		if !same {
			t.Errorf("body %q became %s", body, text)
		}
	})
}
