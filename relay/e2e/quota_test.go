package e2e_test

import (
	"slices"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// The broker has a token bucket with a burst of two seconds, and the relay has to find its rate.
// The burst also covers pauses of a busy machine, so the measurement begins when it is used up.
func TestBacklogUsesTheQuotaAndRarelyExceedsIt(t *testing.T) {
	t.Parallel()
	const perSecond, burst, search, steady = 30, 60, 180, 240 // requests
	const events = 11 * (burst + search + steady)             // a tenth more than full requests hold
	w := newTestEnv(t, "orders.fifo")
	quota := fakeaws.NewQuota(perSecond, burst)
	w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Limit(quota, false))
	w.startStreaming()
	w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
		SELECT gen_random_uuid(), 'order', (i % 500)::text, 'order.created', '{}'
		FROM generate_series(1, $1::int) AS i`, events)

	w.eventually("the burst is used up and the rate is found", func() bool { return quota.Taken() >= burst+search })
	taken, refused := quota.Taken(), quota.Refused()
	var parts []time.Duration // the time of perSecond requests, again and again
	for range steady / perSecond {
		began, from := time.Now(), quota.Taken()
		w.eventually("the quota is used", func() bool { return quota.Taken() >= from+perSecond })
		parts = append(parts, time.Since(began)*perSecond/time.Duration(quota.Taken()-from))
	}
	taken, refused = quota.Taken()-taken, quota.Refused()-refused
	slices.Sort(parts)
	var took time.Duration
	parts = parts[:len(parts)*3/4] // a stall of the machine is in one or two of them
	for _, part := range parts {
		took += part
	}
	if reached := float64(len(parts)) / took.Seconds(); reached < 0.9 {
		t.Errorf("the relay uses %.0f %% of the quota, want 90 %% at least: %v", 100*reached, parts)
	}
	if part := float64(refused) / float64(taken+refused); part > 0.05 {
		t.Errorf("%.1f %% of the requests are refused, want 5 %% at most", 100*part)
	}
	if received := w.broker.ReceivedCount(w.queue.ARN); received < 9*quota.Taken() {
		t.Errorf("%d events in %d requests: they are not full", received, quota.Taken())
	}
}
