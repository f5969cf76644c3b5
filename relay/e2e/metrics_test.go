package e2e_test

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A gauge equals the last document, and a counter equals the sum of its increments.
func TestEMFMetricsEqualPrometheusMetrics(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	listen := freeAddress(t)
	p := w.startStreaming("RELAY_LISTEN="+listen, "RELAY_METRICS=both", "RELAY_METRICS_INTERVAL=1s",
		"RELAY_METRICS_DEPLOYMENT=staging")
	const events = 30
	for i := range events {
		w.commit(event(t, strconv.Itoa(i), `{"n":`+strconv.Itoa(i)+`}`))
	}
	w.awaitAll(events)
	delivered := regexp.MustCompile(`(?m)^relay_events_delivered_total\{destination="(.*)"\} ` + strconv.Itoa(events) +
		`$`)
	w.eventually("all deliveries are counted", func() bool {
		_, metrics := w.get("http://" + listen + "/metrics")
		found := delivered.FindStringSubmatch(metrics)
		return found != nil && found[1] == w.queue.ARN
	})
	p.stop()
	var sum float64
	last := map[string]float64{} // value of relay_state by the name of the state
	for line := range strings.Lines(p.stdout.String()) {
		document := map[string]any{}
		w.must(json.Unmarshal([]byte(line), &document)) // stdout has only metrics
		if document["Slot"] != w.slot || document["Deployment"] != "staging" {
			t.Errorf("slot %v of %v", document["Slot"], document["Deployment"])
		}
		if growth, ok := document["relay_events_delivered_total"].(float64); ok &&
			document["destination"] == w.queue.ARN {
			sum += growth
		}
		if state, ok := document["state"].(string); ok {
			last[state] = document["relay_state"].(float64)
		}
	}
	if sum != events {
		t.Errorf("relay_events_delivered_total adds up to %v", sum)
	}
	if last["stopping"] != 1 || last["streaming"] != 0 || len(last) != 5 {
		t.Errorf("last states %v", last)
	}
}

func TestMetricsFollowTheirSetting(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]struct{ served, written bool }{
		"prometheus": {true, false}, "emf": {false, true}, "none": {false, false},
	} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders")
			listen := freeAddress(t)
			p := w.startStreaming("RELAY_LISTEN="+listen, "RELAY_METRICS="+setting)
			if status, _ := w.get("http://" + listen + "/metrics"); (status == 200) != want.served {
				t.Errorf("/metrics answers %d", status)
			}
			if status, _ := w.get("http://" + listen + "/livez"); status != 200 {
				t.Errorf("/livez answers %d", status)
			}
			p.stop()
			if written := strings.Contains(p.stdout.String(), "CloudWatchMetrics"); written != want.written {
				t.Errorf("stdout: %q", p.stdout.String())
			}
		})
	}
}
