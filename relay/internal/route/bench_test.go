package route_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

func BenchmarkMessage(b *testing.B) {
	for name, headers := range map[string]string{
		"no headers": `{}`,
		"trace":      `{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`,
		"three headers": `{"tenant": "acme", "user-agent": "curl", "traceparent": ` +
			`"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`,
		"any JSON": `{"tenant": "Ärzte", "attempt": 3}`,
	} {
		b.Run(name, func(b *testing.B) {
			router, err := route.Parse(route.Settings{
				Destination: "a", Routes: "event:x=b; aggregate:y=c; event:billing.*=d; event:billing.invoice.*=e",
				Schema: "public", Table: "outbox_events",
			})
			if err != nil {
				b.Fatal(err)
			}
			e := outbox.Envelope{
				ID: "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11", Sequence: "4711", XID: "99", AggregateType: "order",
				AggregateID: "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e10", EventType: "order.created",
				Payload: `{"total": 12}`,
				Headers: headers, CreatedAt: "2026-11-23 20:38:55.123456+00",
			}
			var m sink.Message
			b.ReportAllocs()
			for b.Loop() {
				router.Message(&e, &m)
			}
		})
	}
}
