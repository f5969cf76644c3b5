package route_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
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
			events := benchEvents(headers)
			var m sink.Message
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				router.Message(&events[n%len(events)], &m)
			}
		})
	}
}

// benchEvents returns events with different ids and times. A processor would learn to predict the
// branches of a few texts.
func benchEvents(headers string) []outbox.Envelope {
	random := rand.New(rand.NewPCG(1, 2))
	id := func() string {
		high, low := random.Uint64(), random.Uint64()
		return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", high>>32, high>>16&0xffff, high&0xffff, low>>48, low&(1<<48-1))
	}
	events := make([]outbox.Envelope, 4096)
	for i := range events {
		microseconds := strings.TrimRight(fmt.Sprintf("%06d", 1+random.IntN(999_999)), "0")
		events[i] = outbox.Envelope{
			ID: id(), Sequence: "4711", XID: "99", AggregateType: "order", AggregateID: id(),
			EventType: "order.created", Payload: `{"total": 12}`, Headers: headers,
			CreatedAt: "2026-11-23 20:38:55." + microseconds + "+00",
		}
	}
	return events
}
