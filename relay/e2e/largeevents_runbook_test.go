package e2e_test

import "strings"

// The role lost its permission for the bucket. Other events of the destination continue.
func walkLargeEventsWait(r *runbook) {
	r.testEnv = newTestEnv(r.t, "orders.fifo")
	r.broker.CreateBucket(bucket)
	r.env = []string{largeEvents, "RELAY_RETRY_MAX=200ms"}
	r.relay = r.startScraped()
	r.relay.awaitLog("event=streaming")
	r.broker.RefuseBucket(bucket, "AccessDenied")
	r.commit(largeEvent(r.t, "1", 1, 2<<20))
	small := func() bool {
		r.commit(event(r.t, "2", `{"n":2}`))
		return len(r.broker.Received(r.queue.ARN)) > 3
	}
	r.eventually("small events arrive", small)
	r.fires()
	r.statusSays("large events of "+r.queue.ARN, "wait for the bucket since", "AccessDenied")
	r.eventually("/readyz has the answer of the bucket", func() bool {
		_, ready := r.get("http://" + r.scraped + "/readyz")
		return small() && strings.Contains(ready, "large_events_wait") && strings.Contains(ready, "AccessDenied")
	})
	if output, err := r.command(r.env, "check"); err == nil {
		r.t.Errorf("relay check finds nothing: %s", output)
	}
	r.broker.RefuseBucket(bucket, "")
	r.run("relay check")
	r.ends()
}
