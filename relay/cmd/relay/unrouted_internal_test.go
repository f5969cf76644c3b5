package main

import (
	"log/slog"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/metrics"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
)

// An alarm on the increase of a counter misses the first event if no series was there before.
func TestUnroutedEventsCountFromZero(t *testing.T) {
	t.Parallel()
	const queue = "arn:aws:sqs:us-east-1:000000000000:"
	for _, test := range []struct {
		routes, allowed string
		series          int
	}{
		{"event:*=" + queue + "${event_type}", queue + "a", 2},
		{"event:a=" + queue + "a", "", 0},
	} {
		router, err := route.Parse(route.Settings{
			Destination: queue + "other", Routes: test.routes, Allowed: test.allowed, Unknown: "park", Max: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		m := metrics.New()
		newUnrouted(router, slog.New(slog.DiscardHandler), m)
		families, err := m.Registry().Gather()
		if err != nil {
			t.Fatal(err)
		}
		series := 0
		for _, family := range families {
			if family.GetName() == "relay_events_unrouted_total" {
				series = len(family.GetMetric())
			}
		}
		if series != test.series {
			t.Errorf("%s: %d series, want %d", test.routes, series, test.series)
		}
	}
}
