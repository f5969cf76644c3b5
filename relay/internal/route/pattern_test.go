package route_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

const (
	arnPrefix   = "arn:aws:sns:eu-central-1:123456789012:"
	fifoPattern = arnPrefix + "${topic}.fifo"
)

func TestAPatternLeadsToAllowedDestinations(t *testing.T) {
	t.Parallel()
	r := newRouter(t, route.Settings{
		Routes: "event:*=" + fifoPattern + "; event:exact=" + queue + "; aggregate:by=" + arnPrefix +
			"t-${aggregate_type}-${aggregate_id}",
		Allowed: arnPrefix + "{orders,billing}.fifo\n " + arnPrefix + "t-by-7;" + arnPrefix + "orders.fifo",
	})
	want := []string{
		topic, queue, arnPrefix + "orders.fifo", arnPrefix + "billing.fifo", arnPrefix + "t-by-7",
	}
	if diff := cmp.Diff(want, r.Destinations()); diff != "" || r.Named() != 2 || r.Column() != "topic" {
		t.Errorf("%d named, column %s, destinations (-want +got):\n%s", r.Named(), r.Column(), diff)
	}
	const filter = "(a = 'x\ny=1'::text)"
	again, err := route.ParseText(r.WithFilter(filter).Text(r.Destinations()))
	if err != nil {
		t.Fatal(err)
	}
	if again.Filter() != filter || r.Filter() != "" {
		t.Errorf("the filter is %q", again.Filter())
	}
	tests := map[string]struct {
		event outbox.Envelope
		want  string
	}{
		"by column":       {outbox.Envelope{Route: "billing"}, arnPrefix + "billing.fifo"},
		"by exact type":   {outbox.Envelope{EventType: "exact", Route: "billing"}, queue},
		"by fields":       {outbox.Envelope{AggregateType: "by", AggregateID: "7"}, arnPrefix + "t-by-7"},
		"not allowed":     {outbox.Envelope{Route: "payments"}, topic},
		"no value":        {outbox.Envelope{}, topic},
		"other fields":    {outbox.Envelope{AggregateType: "by", AggregateID: "8"}, topic},
		"another case":    {outbox.Envelope{Route: "Orders"}, topic},
		"the whole name":  {outbox.Envelope{Route: "orders.fifo"}, topic},
		"another account": {outbox.Envelope{Route: "x:y"}, topic},
	}
	for name, test := range tests {
		if got := r.Destination(r.Route(&test.event)); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
		if got := again.Destination(again.Route(&test.event)); got != test.want {
			t.Errorf("%s, by the text: %s, want %s", name, got, test.want)
		}
	}
}

// TestValuesCannotEscapeAPattern: whatever an event holds, it goes to the default destination or to
// the allowed one that its own values name.
func TestValuesCannotEscapeAPattern(t *testing.T) {
	t.Parallel()
	names := []string{"orders", "a-orders", "a_b"}
	r := newRouter(t, route.Settings{
		Routes:  "event:*=" + arnPrefix + "${aggregate_type}-${topic}",
		Allowed: arnPrefix + "{" + strings.Join(names, ",") + "}",
	})
	value := rapid.OneOf(
		rapid.SampledFrom([]string{
			"", "a", "orders", "-orders", "a-", "*", "${topic}", "a_b", "..", "\x00", "a\n", "é",
		}),
		rapid.StringMatching(`[a-z:/.*{}$ -]{0,8}`), rapid.String())
	rapid.Check(t, func(t *rapid.T) {
		e := outbox.Envelope{AggregateType: value.Draw(t, "aggregate type"), Route: value.Draw(t, "topic")}
		got := r.Destination(r.Route(&e))
		if got != topic && (e.AggregateType == "" || e.Route == "" || got != arnPrefix+e.AggregateType+"-"+e.Route ||
			!slices.Contains(names, strings.TrimPrefix(got, arnPrefix))) {
			t.Errorf("%+v goes to %s", e, got)
		}
	})
}

func TestAnUnknownDestinationIsParkedOrDefaulted(t *testing.T) {
	t.Parallel()
	for setting, parked := range map[string]bool{"": true, "park": true, "default": false} {
		r := newRouter(t, route.Settings{
			Routes: "event:*=" + fifoPattern, Allowed: arnPrefix + "orders.fifo", Unknown: setting,
		})
		var told []route.Unknown
		r.OnUnknown(func(u route.Unknown) { told = append(told, u) })
		for value, reason := range map[string]string{
			"payments": "leads to " + arnPrefix + "payments.fifo, which RELAY_ALLOWED_DESTINATIONS does not have",
			"a:b":      "makes no ARN of it", "": "makes no ARN of it",
		} {
			e := event()
			e.Route = value
			routed := r.Message(&e, &sink.Message{})
			wantReason, wantCode := "", ""
			if parked {
				wantReason, wantCode = reason, route.CodeUnknownDestination
			}
			if routed.Destination != 0 || !strings.Contains(routed.Problem, wantReason) ||
				(routed.Problem == "") == parked || routed.ProblemCode != wantCode {
				t.Errorf("%q: %+v, want %q", value, routed, wantReason)
			}
			last := told[len(told)-1]
			if last.Parked != parked || last.EventID != e.ID || !strings.Contains(last.Reason(), reason) {
				t.Errorf("%q: told %+v", value, last)
			}
		}
		e := event()
		e.Route = "orders"
		routed := r.Message(&e, &sink.Message{})
		if routed.Destination != 1 || routed.Problem != "" || len(told) != 3 {
			t.Errorf("an allowed one: %+v, told %d", routed, len(told))
		}
		e.ID, e.Route = "", "payments"
		routed = r.Message(&e, &sink.Message{})
		if routed.ProblemCode != "" || !strings.Contains(routed.Problem, "event id") {
			t.Errorf("without an id: %+v", routed)
		}
	}
}

func TestProblemsOfPatternsAreNamed(t *testing.T) {
	t.Parallel()
	const allowed = arnPrefix + "orders.fifo"
	for name, test := range map[string]struct {
		settings route.Settings
		want     string
	}{
		"as the default": {
			route.Settings{Destination: fifoPattern},
			"RELAY_DESTINATION is a pattern, and has to be one destination",
		},
		"no list": {
			route.Settings{Routes: "event:*=" + fifoPattern},
			"RELAY_ROUTES has a pattern, and RELAY_ALLOWED_DESTINATIONS is empty",
		},
		"a list alone": {
			route.Settings{Allowed: allowed}, "no route of RELAY_ROUTES is a pattern",
		},
		"a value in the account": {
			route.Settings{Routes: "event:*=arn:aws:sns:eu-central-1:${a}:orders", Allowed: allowed},
			"a value may stand only in the name",
		},
		"a URL": {
			route.Settings{Routes: "event:*=https://sqs.eu-central-1.amazonaws.com/1/${a}", Allowed: allowed},
			"a value may stand only in the name",
		},
		"no name": {
			route.Settings{Routes: "event:*=" + arnPrefix + "${}", Allowed: allowed}, "${} names no column",
		},
		"no end": {
			route.Settings{Routes: "event:*=" + arnPrefix + "${topic", Allowed: allowed}, "is not the name of a topic",
		},
		"two columns": {
			route.Settings{Routes: "event:*=" + arnPrefix + "${a}-${b}", Allowed: allowed}, "the columns a and b",
		},
		"two columns in two patterns": {
			route.Settings{
				Routes: "event:*=" + arnPrefix + "${a};event:x=" + arnPrefix + "${b}", Allowed: allowed,
			},
			"a pattern before it reads column a",
		},
		"a glob": {
			route.Settings{Routes: "event:*=" + fifoPattern, Allowed: arnPrefix + "*.fifo"},
			`RELAY_ALLOWED_DESTINATIONS: entry "` + arnPrefix + `*.fifo"`,
		},
		"a queue's URL": {
			route.Settings{Routes: "event:*=" + fifoPattern, Allowed: queue}, "name the queue by its ARN",
		},
		"too many": {
			route.Settings{Routes: "event:*=" + fifoPattern, Allowed: arnPrefix + "{a,b,c}.fifo", Max: 2},
			"has 3 destinations, and RELAY_MAX_DESTINATIONS is 2",
		},
		"another policy": {
			route.Settings{Routes: "event:*=" + fifoPattern, Allowed: allowed, Unknown: "drop"},
			"write park or default",
		},
	} {
		if test.settings.Destination == "" {
			test.settings.Destination = topic
		}
		if _, err := route.Parse(test.settings); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestColumnsOfPatternsMayBeQuoted(t *testing.T) {
	t.Parallel()
	r := newRouter(t, route.Settings{
		Routes: "event:*=" + arnPrefix + `${"Topic, ""A""}", old_topic}`, Allowed: arnPrefix + "x",
	})
	if diff := cmp.Diff([]string{`Topic, "A"}`, "old_topic"}, r.ColumnNames()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := r.Destination(r.Route(&outbox.Envelope{Route: "x"})); got != arnPrefix+"x" {
		t.Errorf("goes to %s", got)
	}
}

// TestAPatternRoutesWithoutAnAllocation: neither does a route without a pattern.
func TestAPatternRoutesWithoutAnAllocation(t *testing.T) {
	r := newRouter(t, route.Settings{
		Routes: "event:*=" + fifoPattern + ";event:x=" + queue, Allowed: arnPrefix + "orders.fifo",
	})
	for _, e := range []outbox.Envelope{{Route: "orders"}, {EventType: "x"}} {
		if n := testing.AllocsPerRun(100, func() { r.Route(&e) }); n != 0 {
			t.Errorf("%+v: %v allocations", e, n)
		}
	}
}
