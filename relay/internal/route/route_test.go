package route_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/relay/internal/emitted"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

const (
	topic = "arn:aws:sns:eu-central-1:123456789012:orders"
	queue = "https://sqs.eu-central-1.amazonaws.com/123456789012/customers"
)

// newRouter returns a Router of public.outbox_events with a default destination.
func newRouter(t testing.TB, s route.Settings) *route.Router {
	t.Helper()
	s.Destination, s.Schema, s.Table = topic, "public", "outbox_events"
	r, err := route.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// event returns a row as Postgres prints it.
func event() outbox.Envelope {
	return outbox.Envelope{
		ID: "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11", Sequence: "4711", XID: "753",
		AggregateType: "order", AggregateID: "o-1", EventType: "order.created",
		Payload: `{"total": 12.50}`, Headers: `{}`, CreatedAt: "2026-11-23 20:38:55.123456+00",
	}
}

func TestTheMostExactRouteWins(t *testing.T) {
	t.Parallel()
	r := newRouter(t, route.Settings{
		Routes: "event:billing.paid=exact; aggregate:invoice=aggregate; event:billing.*=prefix; " +
			"event:billing.invoice.*=longer",
	})
	tests := []struct{ eventType, aggregateType, want string }{
		{"billing.paid", "invoice", "exact"},
		{"billing.invoice.sent", "invoice", "aggregate"},
		{"billing.invoice.sent", "customer", "longer"},
		{"billing.invoice.", "customer", "longer"},
		{"billing.invoice", "customer", "prefix"},
		{"billing.paid.late", "customer", "prefix"},
		{"billing", "customer", topic},
		{"Billing.paid", "Invoice", topic},
		{"", "", topic},
	}
	for _, test := range tests {
		e := outbox.Envelope{EventType: test.eventType, AggregateType: test.aggregateType}
		if got := r.Destinations()[r.Route(&e)]; got != test.want {
			t.Errorf("event type %q of aggregate type %q goes to %s, want %s", test.eventType, test.aggregateType, got,
				test.want)
		}
	}
}

// TestARouteToNoneDropsEvents: none is a destination in no list, and the most exact rule wins.
func TestARouteToNoneDropsEvents(t *testing.T) {
	t.Parallel()
	r := newRouter(t, route.Settings{
		Routes: "event:internal.*=none; event:internal.paid=" + queue + "; aggregate:audit=none; event:a.b=none",
	})
	if diff := cmp.Diff([]string{topic, queue}, r.Destinations()); diff != "" {
		t.Errorf("destinations (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"event:a.b", "aggregate:audit", "event:internal.*"}, r.Drops()); diff != "" {
		t.Errorf("rules that drop (-want +got):\n%s", diff)
	}
	again, err := route.ParseText(r.Text(r.Destinations()))
	if err != nil {
		t.Fatal(err)
	}
	for eventType, want := range map[string]int{
		"internal.made": route.Dropped, "internal.paid": 1, "a.b": route.Dropped, "a.bc": 0, "internal": 0,
	} {
		e := outbox.Envelope{ID: "1", EventType: eventType, AggregateType: "order", Payload: "{}", Headers: `{"a":"b"}`}
		m := sink.Message{Attributes: make([]sink.Attribute, 0, 10)}
		if got := r.Message(&e, &m).Destination; got != want || r.Route(&e) != want || again.Route(&e) != want {
			t.Errorf("%s goes to %d, want %d", eventType, got, want)
		}
		if want == route.Dropped && (m.EventID != "1" || m.Body != "" || cap(m.Attributes) != 10) {
			t.Errorf("the message of a dropped event is %+v", m)
		}
	}
	if got := r.Route(&outbox.Envelope{EventType: "internal.paid", AggregateType: "audit"}); got != 1 {
		t.Errorf("the exact type goes to %d", got)
	}
}

func TestRoutesStandInOneLineOrInMany(t *testing.T) {
	t.Parallel()
	for _, routes := range []string{
		"event:Order Created=" + queue + ";aggregate:arn:x=" + topic + ";event:a.*=" + queue,
		"\n  event:Order Created = " + queue + "\r\n\n\taggregate:arn:x =" + topic + " ;\n event:a.*=" + queue + ";;",
	} {
		r := newRouter(t, route.Settings{Routes: routes})
		if diff := cmp.Diff([]string{topic, queue}, r.Destinations()); diff != "" {
			t.Errorf("destinations of %q (-want +got):\n%s", routes, diff)
		}
		got := []int{
			r.Route(&outbox.Envelope{EventType: "Order Created"}),
			r.Route(&outbox.Envelope{AggregateType: "arn:x", EventType: "a.b"}),
			r.Route(&outbox.Envelope{EventType: "a.b"}),
		}
		if diff := cmp.Diff([]int{1, 0, 1}, got); diff != "" {
			t.Errorf("routes of %q (-want +got):\n%s", routes, diff)
		}
	}
}

func TestAllProblemsOfTheSettingsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := route.Parse(route.Settings{
		Destination: " ",
		Routes: strings.Join([]string{
			"order.created=x", "event:=x", "event:none", "event:none=", "event:two=x,y", "event:two=x y", "event:a*b=x",
			"aggregate:a*=x", "event:*=x", "event:a=x", "event:a=y", "aggregate:a=x", "event:a*=x",
		}, "\n"),
		Headers: "tenant, sequence, AWS.x, tenant, traceparent, *, late",
	})
	if err == nil {
		t.Fatal("no error")
	}
	want := []string{
		`RELAY_DESTINATION is empty`,
		`RELAY_ROUTES: entry "order.created=x": write event:TYPE=DESTINATION`,
		`RELAY_ROUTES: entry "event:=x": write event:TYPE=DESTINATION`,
		`RELAY_ROUTES: entry "event:none": it has no destination`,
		`RELAY_ROUTES: entry "event:none=": it has no destination`,
		`RELAY_ROUTES: entry "event:two=x,y": it has more than one destination`,
		`RELAY_ROUTES: entry "event:two=x y": it has more than one destination`,
		`RELAY_ROUTES: entry "event:a*b=x": a * may stand only at the end`,
		`RELAY_ROUTES: entry "aggregate:a*=x": a * may stand only at the end`,
		`RELAY_ROUTES: entry "event:*=x": it takes every event`,
		`RELAY_ROUTES: entry "event:a=y": an entry before it has the same rule`,
		`RELAY_HEADERS: "sequence": is one of the relay's own`,
		`RELAY_HEADERS: "AWS.x": cannot be the name`,
		`RELAY_HEADERS: "tenant": is listed twice`,
		`RELAY_HEADERS: "traceparent": is always sent`,
		`RELAY_HEADERS: "late": a * stands for all`,
	}
	got := strings.Split(err.Error(), "\n")
	if len(got) != len(want) {
		t.Errorf("%d problems, want %d: %v", len(got), len(want), err)
	}
	for i := range min(len(got), len(want)) {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("problem %d: %s\nwant %s …", i+1, got[i], want[i])
		}
	}
}

func TestMessageIsWhatTheRulesSay(t *testing.T) {
	t.Parallel()
	r := newRouter(t, route.Settings{Routes: "aggregate:order=" + queue})
	e := event()
	e.Headers = `{"tenant": "acme", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`
	m := sink.Message{EventID: "old", Attributes: make([]sink.Attribute, 3, outbox.MaxAttributes)}
	space := &m.Attributes[0]
	got := r.Message(&e, &m)
	if diff := cmp.Diff(route.Routed{Destination: 1}, got); diff != "" {
		t.Errorf("routed (-want +got):\n%s", diff)
	}
	want := sink.Message{
		EventID: "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11",
		Type:    "order.created",
		Body:    `{"total": 12.50}`,
		Attributes: []sink.Attribute{
			{Name: "event_id", DataType: sink.String, Value: "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11"},
			{Name: "event_type", DataType: sink.String, Value: "order.created"},
			{Name: "aggregate_type", DataType: sink.String, Value: "order"},
			{Name: "aggregate_id", DataType: sink.String, Value: "o-1"},
			{Name: "occurred_at", DataType: sink.String, Value: "2026-11-23T20:38:55.123456Z"},
			{Name: "sequence", DataType: sink.Number, Value: "4711"},
			{
				Name: "traceparent", DataType: sink.String,
				Value: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			},
			{Name: "tenant", DataType: sink.String, Value: "acme"},
		},
		Own:             6,
		GroupID:         "order/o-1",
		TenantID:        "order/o-1",
		DeduplicationID: "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11",
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	if &m.Attributes[0] != space {
		t.Error("the space of the attributes was not used again")
	}
}

func TestInvalidEventHasAProblemAndAnID(t *testing.T) {
	t.Parallel()
	r := newRouter(t, route.Settings{})
	tests := map[string]struct {
		event       outbox.Envelope
		problem, id string
	}{
		"good": {event(), "", "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11"},
		"no id": {
			outbox.Envelope{Sequence: "17", EventType: "a", Payload: "{}"},
			"event id: NULL or empty",
			"seq:17",
		},
		"no type":         {outbox.Envelope{ID: "x", Payload: "{}"}, "event type: NULL or empty", "x"},
		"no payload":      {outbox.Envelope{ID: "x", EventType: "a"}, "", "x"}, // it is delivered as null
		"nothing but seq": {outbox.Envelope{Sequence: "17"}, "event id, event type: NULL or empty", "seq:17"},
		"nothing": {
			outbox.Envelope{},
			"event id, event type: NULL or empty",
			"sha256:5b52e7580e5534f96fd2e24119a65773e3d8fd608b405d3de50b5ad5a19fd140",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var m sink.Message
			if got := r.Message(&test.event, &m).Problem; got != test.problem {
				t.Errorf("problem %q, want %q", got, test.problem)
			}
			if m.EventID != test.id {
				t.Errorf("id %q, want %q", m.EventID, test.id)
			}
			if m.GroupID == "" || m.DeduplicationID == "" {
				t.Errorf("group %q, deduplication id %q", m.GroupID, m.DeduplicationID)
			}
		})
	}
}

// TestADeadLetterKeepsALongPayload that no message may have, because the table may not keep it.
func TestADeadLetterKeepsALongPayload(t *testing.T) {
	t.Parallel()
	const limit = 32 << 20
	for size, settings := range map[int]route.Settings{
		outbox.MaxPayload + 1: {}, emitted.MaxKept: {}, emitted.MaxKept + 1: {}, limit + 1: {MaxPayload: limit},
	} {
		e := event()
		e.Payload = strings.Repeat("x", size)
		kept := size <= emitted.MaxKept
		var m sink.Message
		problem := newRouter(t, settings).Message(&e, &m).Problem
		if problem == "" || (m.Body == e.Payload) != kept || strings.Contains(problem, "has none of them") == kept {
			t.Errorf("payload of %d bytes: problem %q, %d bytes kept", size, problem, len(m.Body))
		}
	}
}

// TestTheReasonNamesTheSettingThatRaisesTheLimit: a bucket may have the limit of a relay without
// one.
func TestTheReasonNamesTheSettingThatRaisesTheLimit(t *testing.T) {
	t.Parallel()
	for setting, maxPayload := range map[string]int{
		"set RELAY_LARGE_EVENTS_BUCKET": 0, "more than RELAY_MAX_EVENT_BYTES allows": outbox.MaxPayload,
	} {
		e := event()
		e.Payload = strings.Repeat("x", outbox.MaxPayload+1)
		problem := newRouter(t, route.Settings{MaxPayload: maxPayload}).Message(&e, &sink.Message{}).Problem
		if !strings.Contains(problem, setting) {
			t.Errorf("limit %d: %s", maxPayload, problem)
		}
	}
}

// FuzzParse checks that Parse never panics, and that accepted settings route every event to a
// destination.
func FuzzParse(f *testing.F) {
	f.Add("event:a=b; aggregate:c=d\nevent:e.*=f", "tenant,*", "e.f", "c")
	f.Add("event:*=x;=;:;event:=;aggregate:", "none", "", "")
	f.Fuzz(func(t *testing.T, routes, headers, eventType, aggregateType string) {
		r, err := route.Parse(route.Settings{Destination: topic, Routes: routes, Headers: headers})
		if err != nil {
			return
		}
		i := r.Route(&outbox.Envelope{EventType: eventType, AggregateType: aggregateType})
		if all := r.Destinations(); i < route.Dropped || i >= len(all) || i >= 0 && strings.TrimSpace(all[i]) == "" {
			t.Fatalf("destination %d of %q", i, all)
		}
	})
}
