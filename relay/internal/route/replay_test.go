package route_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

func TestReplayMarkPrecedesTheHeaders(t *testing.T) {
	t.Parallel()
	for headers, dropped := range map[string]int{
		``:                                  0,
		`{"a":"1","traceparent":"t"}`:       0,
		`{"a":"1","b":"2","c":"3"}`:         0,
		`{"a":"1","b":"2","c":"3","d":"4"}`: 1,
		`{"a":"1","b":"2","c":"3","d":"4","e":"5"}`: 2,
		`{"replay":"9","a":"1"}`:                    1, // the name is the relay's own
	} {
		r := newRouter(t, route.Settings{})
		e := event()
		e.Headers = headers
		var first, again sink.Message
		r.Message(&e, &first)
		routed := r.Replay(&e, 9, &again)
		if routed.DroppedHeaders != dropped || len(again.Attributes) > outbox.MaxAttributes {
			t.Errorf("%s: dropped %d of the headers, want %d; %d attributes", headers, routed.DroppedHeaders, dropped,
				len(again.Attributes))
		}
		if mark := again.Attributes[6]; mark != (sink.Attribute{Name: "replay", DataType: sink.Number, Value: "9"}) {
			t.Errorf("%s: the seventh attribute is %v", headers, mark)
		}
		rest := append(append([]sink.Attribute{}, again.Attributes[:6]...), again.Attributes[7:]...)
		if diff := cmp.Diff(first.Attributes[:len(rest)], rest); diff != "" {
			t.Errorf("%s: the other attributes are changed (-want +got):\n%s", headers, diff)
		}
		if again.EventID != first.EventID || again.GroupID != first.GroupID || again.Body != first.Body {
			t.Errorf("%s: replayed %v, was %v", headers, again, first)
		}
	}
}

func TestAReplayHasADeduplicationIDOfItsOwnThatFits(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"0198a6f2-7c1d-7a3b-9f00-000000000001", "17", strings.Repeat("x", 500)} {
		base := route.DeduplicationID(&outbox.Envelope{ID: id}, "public", "outbox_events")
		seen := map[string]bool{base: true}
		for _, n := range []int64{1, 2, 9223372036854775807} {
			for _, again := range []string{route.ReplayID(base, n), route.RedriveID(base, int(n))} {
				if seen[again] || len(again) > 128 || !strings.HasPrefix(again, base+"#") {
					t.Errorf("%s has %d characters, or is not of its own", again, len(again))
				}
				seen[again] = true
			}
		}
	}
}
