package backlog

import (
	"testing"
	"testing/synctest"
	"time"
)

// expectAge compares the age that the Watch reports now.
func expectAge(t *testing.T, w *Watch, want time.Duration) {
	t.Helper()
	if got := w.Age(time.Now()); got != want {
		t.Errorf("age %v, want %v", got, want)
	}
}

func TestAgeRisesFromTheLastSureMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := New()
		w.Stream(func() time.Time { return time.Time{} })
		w.Observe("3:3:", 10, time.Now())
		w.Flush(10)
		time.Sleep(unsureAfter)
		expectAge(t, w, 0)
		time.Sleep(time.Second)
		expectAge(t, w, unsureAfter+time.Second)
		w.Observe("4:4:", 20, time.Now())
		w.Flush(19)
		expectAge(t, w, unsureAfter+time.Second)
		w.Flush(20)
		expectAge(t, w, 0)
	})
}

func TestAgeIsThatOfTheOldestOpenEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := New()
		opened := time.Now()
		w.Stream(func() time.Time { return opened })
		time.Sleep(3 * time.Second)
		expectAge(t, w, 3*time.Second)
		w.looked(mark{}, opened.Add(-time.Hour), time.Now(), true)
		expectAge(t, w, time.Hour+3*time.Second)
		w.End()
		w.looked(mark{}, time.Time{}, time.Now(), true)
		expectAge(t, w, 0)
	})
}

// TestStreamOutdatesALook: the stream has delivered the events that the read found.
func TestStreamOutdatesALook(t *testing.T) {
	t.Parallel()
	w := New()
	w.Stream(func() time.Time { return time.Time{} })
	reference, _, _ := w.reference(time.Now())
	w.Observe("4:4:", 10, time.Now())
	w.Flush(10)
	w.looked(reference, time.Now().Add(-time.Hour), time.Now(), true)
	if age := w.Age(time.Now()); age > time.Minute {
		t.Errorf("age %v", age)
	}
}

// TestTimesOfProducersAreBounded: the producer sets the time of the event, which can differ from
// the time of the row.
func TestTimesOfProducersAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct {
		age  time.Duration
		want time.Time
	}{
		"as written":                   {10 * time.Second, now.Add(-10 * time.Second)},
		"later than the look":          {-time.Hour, now},
		"earlier than all was settled": {time.Hour, now.Add(-time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &Looker{}
			found := waiting{exists: true, xid: "7", hasAge: true, age: c.age}
			if got := l.since(found, mark{at: now.Add(-time.Minute)}, now); !got.Equal(c.want) {
				t.Errorf("since %v before the look, want %v", now.Sub(got), now.Sub(c.want))
			}
		})
	}
}

func TestAgeWithoutTimesCountsFromTheFirstLook(t *testing.T) {
	t.Parallel()
	l, now := &Looker{}, time.Now()
	found := waiting{exists: true, xid: "7"}
	for range 3 {
		if got := l.since(found, mark{}, now); !got.Equal(now) {
			t.Errorf("since %v", got)
		}
	}
	later := now.Add(time.Minute)
	if got := l.since(found, mark{}, later); !got.Equal(now) {
		t.Errorf("the same row waits since %v after the first look", got.Sub(now))
	}
	if got := l.since(waiting{}, mark{}, later); !got.IsZero() {
		t.Errorf("nothing waits since %v", got)
	}
}
