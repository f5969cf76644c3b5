package slot_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// A wal_sender_timeout of 8 s gives a lease of 6 s.
const (
	senderTimeout = 8 * time.Second
	lease         = 6 * time.Second
)

func TestNothingIsPublishedBeforeTheFenceHolds(t *testing.T) {
	t.Parallel()
	l := slot.NewLease(senderTimeout)
	if err := l.MayPublish(); !errors.Is(err, slot.ErrLeaseExpired) {
		t.Errorf("before the first look: %v", err)
	}
	l.Renew(time.Time{}, time.Time{})
	if err := l.MayPublish(); !errors.Is(err, slot.ErrLeaseExpired) {
		t.Errorf("after a look at no time: %v", err)
	}
}

func TestLeaseLastsThreeQuartersOfTheSenderTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := slot.NewLease(senderTimeout)
		l.Renew(time.Now(), time.Now())
		time.Sleep(lease)
		if err := l.MayPublish(); err != nil {
			t.Errorf("at its end: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if err := l.MayPublish(); !errors.Is(err, slot.ErrLeaseExpired) {
			t.Errorf("beyond its end: %v", err)
		}
		l.Renew(time.Now(), time.Now())
		if err := l.MayPublish(); err != nil {
			t.Errorf("seen again: %v", err)
		}
	})
}

// TestAnOlderLookDoesNotShortenALease: the answers of two statements can arrive in either order.
func TestAnOlderLookDoesNotShortenALease(t *testing.T) {
	t.Parallel()
	l := slot.NewLease(senderTimeout)
	l.Renew(time.Now(), time.Now())
	l.Renew(time.Now().Add(-time.Minute), time.Now())
	if err := l.MayPublish(); err != nil {
		t.Error(err)
	}
}

// TestLeaseCountsFromTheLastStatusUpdate: the walsender's timeout runs while the fence is
// still seen to hold.
func TestLeaseCountsFromTheLastStatusUpdate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		told := time.Now()
		time.Sleep(2 * time.Second)
		l := slot.NewLease(senderTimeout)
		l.Renew(time.Now(), told)
		time.Sleep(lease - 2*time.Second)
		if err := l.MayPublish(); err != nil {
			t.Errorf("at its end: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if err := l.MayPublish(); !errors.Is(err, slot.ErrLeaseExpired) {
			t.Errorf("beyond its end: %v", err)
		}
	})
}

func TestALeaseEndsByEitherClock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name            string
		wall, monotonic time.Duration // since the fence was seen to hold
		over            bool
	}{
		{"neither", 0, 0, false},
		{"a machine that slept: the monotonic clock stood still", time.Minute, 0, true},
		{"a wall clock that was set back", -time.Hour, lease + time.Second, true},
		{"a wall clock that was set back a little", -time.Hour, time.Second, false},
		{"both", lease + time.Second, lease + time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := slot.NewLease(senderTimeout)
			l.Renew(clocks(t, c.wall, c.monotonic), time.Now())
			if err := l.MayPublish(); errors.Is(err, slot.ErrLeaseExpired) != c.over {
				t.Errorf("%v", err)
			}
		})
	}
}

// clocks returns a past time from which the wall clock and the monotonic clock have advanced by
// different amounts. Package time has no function for that, so clocks overwrites the monotonic
// reading behind the first word of a Time, and verifies the result.
func clocks(t *testing.T, wall, monotonic time.Duration) time.Time {
	t.Helper()
	now := time.Now()
	seen := now.Add(-wall)
	reading := (*int64)(unsafe.Add(unsafe.Pointer(&seen), unsafe.Sizeof(uint64(0))))
	*reading += int64(wall - monotonic)
	if got := [2]time.Duration{now.Round(0).Sub(seen.Round(0)), now.Sub(seen)}; got != [2]time.Duration{
		wall,
		monotonic,
	} {
		t.Fatalf("the clocks advanced by %v, want %s and %s", got, wall, monotonic)
	}
	return seen
}

func TestTheFencesArgumentsComeFirst(t *testing.T) {
	t.Parallel()
	f := slot.Fence{Slot: "relay", Epoch: 3, PID: 4711}
	if diff := cmp.Diff([]any{"relay", int64(3), int64(4711), "more", 7}, f.Args("more", 7)); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
}

func TestASlotOfAnotherDatabaseOrPluginIsRefused(t *testing.T) {
	t.Parallel()
	own := slot.State{Exists: true, Database: "orders", CurrentDatabase: "orders", Plugin: "pgoutput"}
	database, plugin := own, own
	database.Database = "billing"
	plugin.Plugin = "wal2json"
	for _, c := range []struct {
		state slot.State
		want  string
	}{
		{slot.State{}, ""},
		{own, ""},
		{database, `belongs to database "billing"`},
		{plugin, `output plugin "wal2json"`},
	} {
		err := c.state.CheckUsable("relay")
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.state, err)
		}
	}
}

func TestASlotIsLostWhenTheServerSaysSo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state slot.State
		want  bool
	}{
		{slot.State{}, false},
		{slot.State{Exists: true, WALStatus: "reserved"}, false},
		{slot.State{Exists: true, WALStatus: "unreserved"}, false},
		{slot.State{Exists: true, WALStatus: "lost"}, true},
		{slot.State{Exists: true, WALStatus: "reserved", InvalidReason: "wal_level_insufficient"}, true},
	} {
		if got := c.state.Lost(); got != c.want {
			t.Errorf("%+v: %v", c.state, got)
		}
	}
}

func TestSlotNamesAreThoseOfPostgres(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"relay_1": true, strings.Repeat("a", 63): true,
		"": false, strings.Repeat("a", 64): false, "Relay": false, "relay-1": false, "r'": false,
	} {
		if got := slot.ValidName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
