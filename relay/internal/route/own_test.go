package route_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// attributesOf returns the attributes of a message as name=value.
func attributesOf(m *sink.Message) (attributes []string) {
	for _, a := range m.Attributes {
		attributes = append(attributes, a.Name+"="+a.Value)
	}
	return attributes
}

func TestOwnAttributesAreRenamedOrDropped(t *testing.T) {
	t.Parallel()
	r := newRouter(t, route.Settings{
		AttributeNames: "event_id=id, event_type=eventType,sequence=none, occurred_at = none,aggregate_type=event_type",
		Columns:        []outboxtable.Attribute{{Name: "region", Index: 1}, {Name: "empty", Index: 0}},
	})
	e := event()
	e.Extra = []string{"", "eu"}
	e.Headers = `{"id":"x","event_id":"y","region":"z","sequence":"1","event_type":"t"}`
	var m sink.Message
	routed := r.Message(&e, &m)
	want := []string{
		"id=" + e.ID, "eventType=order.created", "event_type=order", "aggregate_id=o-1", "region=eu", "event_id=y",
		"sequence=1",
	}
	if got := attributesOf(&m); !slices.Equal(got, want) || routed.DroppedHeaders != 3 || m.Own != 4 {
		t.Errorf("attributes %q, %d own, %d dropped, want %q", got, m.Own, routed.DroppedHeaders, want)
	}
	if dropped := route.DropHeaders(&m, sink.Limits{MaxMessageBytes: 1}); dropped != 3 || len(m.Attributes) != 4 {
		t.Errorf("%d dropped, left %q", dropped, attributesOf(&m))
	}
}

func TestAColumnNeverBlocksAnEvent(t *testing.T) {
	t.Parallel()
	r := newRouter(t, route.Settings{Columns: []outboxtable.Attribute{{Name: "a", Index: 0}, {Name: "b", Index: 1}}})
	e := event()
	e.Extra = []string{"control \x01", "two\nlines"}
	var m sink.Message
	routed := r.Message(&e, &m)
	if routed.Problem != "" || routed.DroppedHeaders != 1 || m.Attributes[len(m.Attributes)-1].Name != "b" {
		t.Errorf("%+v, attributes %q", routed, attributesOf(&m))
	}
	if route.DropUnsendable(&m, sink.Limits{OneLine: true}) != 1 || len(m.Attributes) != m.Own {
		t.Errorf("attributes %q", attributesOf(&m))
	}
}

// TestAnEmptyPayloadIsNull: no broker accepts an empty body, and a dead letter would block the
// aggregate.
func TestAnEmptyPayloadIsNull(t *testing.T) {
	t.Parallel()
	r := newRouter(t, route.Settings{})
	e := event()
	e.Payload = ""
	var m sink.Message
	routed := r.Message(&e, &m)
	if routed.Problem != "" || m.Body != "null" || !slices.Contains(attributesOf(&m), "payload_encoding=null") {
		t.Errorf("%+v, %+v", routed, m)
	}
	if refused := sink.Validate(&m, sink.Limits{MaxMessageBytes: outbox.MaxPayload}); refused != nil {
		t.Error(refused)
	}
}

func TestNamesOfAttributesAreChecked(t *testing.T) {
	t.Parallel()
	columns := func(names ...string) (columns []outboxtable.Attribute) {
		for _, name := range names {
			columns = append(columns, outboxtable.Attribute{Name: name})
		}
		return columns
	}
	for name, c := range map[string]struct {
		settings route.Settings
		word     string
	}{
		"unknown":       {route.Settings{AttributeNames: "id=event_id"}, `"id=event_id": write ATTRIBUTE=NAME`},
		"no name":       {route.Settings{AttributeNames: "event_id"}, `cannot be its name`},
		"twice":         {route.Settings{AttributeNames: "event_id=a,event_id=b"}, `listed twice`},
		"a name twice":  {route.Settings{AttributeNames: "event_id=a,event_type=a"}, `the name "a"`},
		"taken":         {route.Settings{AttributeNames: "event_id=sequence"}, `the name "sequence"`},
		"replay":        {route.Settings{AttributeNames: "event_id=replay"}, `cannot be its name`},
		"own column":    {route.Settings{Columns: columns("event_id")}, `"event_id" is the name of another attribute`},
		"columns alike": {route.Settings{Columns: columns("a", "a")}, `"a" is the name of another attribute`},
		"too many":      {route.Settings{Columns: columns("a", "b", "c", "d")}, `a message has room for 3`},
		"header":        {route.Settings{Columns: columns("a"), Headers: "a"}, `is one of the relay's own attributes`},
	} {
		c.settings.Destination = topic
		if _, err := route.Parse(c.settings); err == nil || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
