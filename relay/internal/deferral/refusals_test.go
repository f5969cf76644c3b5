package deferral

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAGroupIsRefusedForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r refusals
		if r.of("A")("g") {
			t.Error("a group is refused at first")
		}
		r.add(key{"A", "g"}, time.Second)
		if !r.of("A")("g") || r.of("A")("h") || r.of("B")("g") {
			t.Error("not that group alone is refused")
		}
		time.Sleep(time.Second)
		if r.of("A")("g") {
			t.Error("the group is refused for ever")
		}
		if r.add(key{"A", "h"}, time.Second); len(r) != 1 {
			t.Errorf("%d groups are remembered, want 1", len(r))
		}
	})
}
