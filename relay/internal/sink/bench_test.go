package sink_test

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// BenchmarkValidate measures the check of an event of 300 bytes with all attributes that the relay
// sends.
func BenchmarkValidate(b *testing.B) {
	for name, body := range map[string]string{
		"ASCII": `{"order_id":"0193f7a2-7b1e-7c3a-9c55-0242ac120002","lines":["` + strings.Repeat("x", 235) + `"]}`,
		"UTF-8": `{"order_id":"0193f7a2-7b1e-7c3a-9c55-0242ac120002","lines":["` + strings.Repeat("ö", 117) + `"]}`,
	} {
		b.Run(name, func(b *testing.B) {
			const id = "0193f7a2-7b1e-7c3a-9c55-0242ac120002"
			m := &sink.Message{
				EventID:         id,
				Body:            body,
				GroupID:         "order/4711",
				DeduplicationID: id,
				Attributes: []sink.Attribute{
					{Name: "event_id", DataType: sink.String, Value: id},
					{Name: "event_type", DataType: sink.String, Value: "order.created"},
					{Name: "aggregate_type", DataType: sink.String, Value: "order"},
					{Name: "aggregate_id", DataType: sink.String, Value: "4711"},
					{Name: "occurred_at", DataType: sink.String, Value: "2026-11-23T20:38:55.123456Z"},
					{Name: "sequence", DataType: sink.Number, Value: "4711"},
					{
						Name:     "traceparent",
						DataType: sink.String,
						Value:    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
					},
				},
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := sink.Validate(m, limits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
