package checkpoint_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
)

func TestDeliveredEventsStayBehindAnOpenOne(t *testing.T) {
	t.Parallel()
	tracker := checkpoint.NewTracker(checkpoint.Window{Events: 4, Bytes: 1000}, checkpoint.Position{})
	var handles []checkpoint.Handle
	open := func(id string) { handles = append(handles, tracker.Open(id, 10)) }
	for _, id := range []string{"a", "b", "c", "d"} {
		open(id)
	}
	tracker.Delivered(handles[0], handles[2], handles[3])
	if events, bytes := tracker.HeldUpBy(handles[1]); events != 2 || bytes != 20 {
		t.Errorf("b holds up %d events of %d bytes, want 2 of 20", events, bytes)
	}
	tracker.Delivered(handles[1])
	open("e")
	open("f")
	tracker.Delivered(handles[5])
	if events, bytes := tracker.HeldUpBy(handles[0]); events != 1 || bytes != 10 { // it left the window
		t.Errorf("e holds up %d events of %d bytes, want 1 of 10", events, bytes)
	}
}
