package deferral

import (
	"context"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// TestAPassReadsNoRowBeforeItHasRoom: the row may have many MB, as the one that is in flight.
func TestAPassReadsNoRowBeforeItHasRoom(t *testing.T) {
	t.Parallel()
	var order []string
	step := func(name string) { order = append(order, name) }
	page := func(_ context.Context, after int64, _ string, _ ...any) ([]outbox.Envelope, int64, error) {
		step("read")
		return []outbox.Envelope{{Sequence: strconv.FormatInt(after+1, 10)}}, after + 1, nil
	}
	r := &Rows{store: &Store{scans: make(chan struct{}, 1)}, tables: []tableRows{{page: page}}}
	awaitRoom := func() error {
		step("room")
		return nil
	}
	take := func([]outbox.Envelope) error {
		step("send")
		return nil
	}
	if err := r.read(t.Context(), []int64{1, 2}, awaitRoom, take); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"room", "read", "send", "room", "read", "send"}, order); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}
