package route_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/format"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

func TestEachEventHasTheFormatOfItsRule(t *testing.T) {
	t.Parallel()
	r := newRouter(t, route.Settings{
		Format: "cloudevents; event:order.*=plain; event:order.paid=cloudevents-binary\n aggregate:customer=plain",
	})
	for kind, want := range map[[2]string]string{
		{"order", "order.created"}: "", {"order", "order.paid"}: "application/json",
		{"customer", "customer.moved"}: "", {"cart", "cart.filled"}: "application/cloudevents+json",
	} {
		e := event()
		e.AggregateType, e.EventType = kind[0], kind[1]
		var m sink.Message
		if r.Message(&e, &m); valueOf(&m, "content-type") != want {
			t.Errorf("%s: content-type %q, want %q", kind, valueOf(&m, "content-type"), want)
		}
	}
}

func valueOf(m *sink.Message, name string) string {
	for _, a := range m.Attributes {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// TestStructuredEventsKeepTheirAttributes: subscriptions filter by them.
func TestStructuredEventsKeepTheirAttributes(t *testing.T) {
	t.Parallel()
	r := newRouter(t, route.Settings{Format: "cloudevents"})
	plain := newRouter(t, route.Settings{})
	e := event()
	e.Headers = `{"traceparent":"` + trace + `","tenant":"acme","Content-Type":"x","ce-id":"y"}`
	var m, want sink.Message
	routed := r.Message(&e, &m)
	plain.Message(&e, &want)
	own := slices.Clone(want.Attributes[:want.Own])
	own = append(own, sink.Attribute{Name: "content-type", Value: "application/cloudevents+json"})
	if !slices.Equal(m.Attributes[:m.Own], own) || routed.DroppedHeaders != 2 || valueOf(&m, "tenant") != "acme" ||
		valueOf(&m, "traceparent") != trace || !strings.Contains(m.Body, `"traceparent":"`+trace+`"`) {
		t.Errorf("%d dropped, %d own, attributes %q, body %s", routed.DroppedHeaders, m.Own, attributesOf(&m), m.Body)
	}
	if m.GroupID != want.GroupID || m.DeduplicationID != want.DeduplicationID || m.TenantID != want.TenantID {
		t.Errorf("the format changes the ids: %+v", m)
	}
}

// TestABinaryEventFitsTenAttributes: with columns, headers, an encoding and the mark of a replay.
func TestABinaryEventFitsTenAttributes(t *testing.T) {
	t.Parallel()
	r := newRouter(t, route.Settings{
		Format: "cloudevents-binary", CloudEvents: []format.Attribute{{Name: "dataschema", Column: 0}},
		Columns: []outboxtable.Attribute{{Name: "region", Index: 1}},
	})
	e := event()
	e.Payload, e.Base64, e.Extra, e.Headers = "AAEC", true, []string{"urn:1", "eu"}, `{"traceparent":"`+trace+`"}`
	var m sink.Message
	routed := r.Message(&e, &m)
	if len(m.Attributes) != outbox.MaxAttributes || routed.DroppedHeaders != 2 || routed.Problem != "" {
		t.Errorf("%+v, attributes %q", routed, attributesOf(&m))
	}
	r.Replay(&e, 9, &m)
	if len(m.Attributes) != outbox.MaxAttributes || valueOf(&m, "replay") != "9" || m.Own != outbox.MaxAttributes {
		t.Errorf("replay: %d own, attributes %q", m.Own, attributesOf(&m))
	}
	m.GroupID = "g"
	if refused := sink.Validate(&m, sink.Limits{FIFO: true, MaxMessageBytes: 1 << 20}); refused != nil {
		t.Error(refused)
	}
}

// TestAnUnusableEventHasThePlainFormat: an operator reads its dead letter.
func TestAnUnusableEventHasThePlainFormat(t *testing.T) {
	t.Parallel()
	r := newRouter(t, route.Settings{Format: "cloudevents"})
	untyped, control := event(), event()
	untyped.EventType = ""
	control.AggregateID = "a\tb"
	for want, e := range map[string]outbox.Envelope{"event type: NULL": untyped, "control character": control} {
		var m sink.Message
		routed := r.Message(&e, &m)
		if !strings.Contains(routed.Problem, want) || m.Body != e.Payload || valueOf(&m, "event_id") != e.ID {
			t.Errorf("%q: problem %q, body %s", want, routed.Problem, m.Body)
		}
	}
}

func TestWrongFormatsAreAllReported(t *testing.T) {
	t.Parallel()
	_, err := route.Parse(route.Settings{
		Destination: "a", Format: "avro; event:a; plain; event:b=x; event:c=plain; event:c=plain; aggregate:d*=plain",
		CloudEvents: []format.Attribute{{Name: "id"}}, AttributeNames: "event_id=ce-event",
		Columns: []outboxtable.Attribute{{Name: "Content-Type"}},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`RELAY_FORMAT: entry "avro": "avro" is no format: write plain, cloudevents or cloudevents-binary`,
		`entry "event:a": write event:TYPE=FORMAT`, `entry "plain": write event:TYPE=FORMAT`, `"x" is no format`,
		`entry "event:c=plain": an entry before it`, `a * may stand only at the end`,
		`RELAY_CLOUDEVENTS_ATTRIBUTES: "id": the relay sets it`,
		`attribute "ce-event" has a name that CloudEvents use`, `attribute "Content-Type" has a name`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}
