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
	// the time of perSecond requests, again and again
	var parts []time.Duration
	taken, refused := quota.Taken(), quota.Refused()
	for range steady / perSecond {
		began, before := time.Now(), quota.Taken()
		w.eventually("the quota is used", func() bool { return quota.Taken() >= before+perSecond })
		parts = append(parts, time.Since(began)*perSecond/time.Duration(quota.Taken()-before))
	}
	taken, refused = quota.Taken()-taken, quota.Refused()-refused
	slices.Sort(parts) // the last ones may have a stall of the machine
	if part := parts[len(parts)/2]; part > time.Second*10/9 {
		t.Errorf("the relay uses %.0f %% of the quota, want 90 %% at least: %v", 100/part.Seconds(), parts)
	}
	// The search for a higher rate takes longer than a part, so the share is that of all parts.
	if share := float64(refused) / float64(taken+refused); share > 0.05 {
		t.Errorf("%.1f %% of the requests are refused, want 5 %% at most", 100*share)
	}
	if received := w.broker.ReceivedCount(w.queue.ARN); received < 9*quota.Taken() {
		t.Errorf("%d events in %d requests: they are not full", received, quota.Taken())
	}
}
