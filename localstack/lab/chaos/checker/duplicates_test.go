package checker_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

func TestLastFaultExplainsADuplicate(t *testing.T) {
	t.Parallel()
	h := intact()
	h.Faults = []checker.Fault{
		{Kind: "kill", Repeats: true, From: 10 * second, To: 11 * second},
		{Kind: "broker: throttled", From: 12 * second, To: 13 * second},
		{Kind: "session ended", Repeats: true, Noticed: true, From: 13 * second, To: 13 * second},
		{Kind: "freeze", Repeats: true, From: 30 * second, To: 31 * second},
		{Kind: "session ended", Repeats: true, Noticed: true, From: 40 * second, To: 40 * second},
	}
	again(h, 0, 20*second)
	again(h, 1, 35*second)
	again(h, 1, 50*second)
	replay(h, 2)
	report := check(t, h)
	if diff := cmp.Diff(map[string]int{"kill": 1, "freeze": 1, "session ended": 1, "replayed": 1},
		report.Duplicates); diff != "" {
		t.Errorf("duplicates (-want +got):\n%s", diff)
	}
	if len(report.Violations) > 0 {
		t.Errorf("%v", report.Violations)
	}
}
