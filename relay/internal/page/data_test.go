package page_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/history"
	"github.com/outbox-relay/outbox-relay/relay/internal/page"
	"github.com/outbox-relay/outbox-relay/relay/internal/status"
)

const (
	topic = "arn:aws:sns:eu-central-1:123456789012:events.fifo"
	queue = "arn:aws:sqs:eu-central-1:123456789012:a-queue-with-a-name-that-is-longer-than-a-telephone-is-wide.fifo"
)

// idle is the status of a streaming relay and a standby, with no waiting event.
func idle() *status.Status {
	now := time.Now().UTC()
	accepted, safe := now.Add(-40*time.Second), int64(9<<30)
	return &status.Status{
		Version: 1, At: now, Problems: []status.Problem{}, Table: "public.outbox_events",
		Slot: status.Slot{
			Name: "outbox_relay", Exists: true, Active: true, ActivePID: 4711, WALStatus: "reserved",
			RetainedBytes: 3 << 20, SafeBytes: &safe,
		},
		Relays: []status.Relay{
			{Report: status.Report{
				Instance: "A", Host: "ip-10-0-1-17", Version: "0.1.0", StartedAt: now.Add(-6 * time.Hour),
				State: "streaming", Since: now.Add(-6 * time.Hour),
				Events: status.Events{Delivered: 1042},
				Destinations: []status.Destination{
					{Name: topic, State: "ok", LastAcceptedAt: &accepted, Delivered: 1042},
					{Name: queue, State: "ok"},
				},
			}, ReportedAt: now},
			{Report: status.Report{
				Instance: "B", Host: "ip-10-0-2-9", Version: "0.1.0", StartedAt: now.Add(-6 * time.Hour),
				State: "standby", Since: now.Add(-5 * time.Hour),
			}, ReportedAt: now},
		},
		Checkpoint: &status.Checkpoint{FlushLSN: "1/6B0A3F18", WrittenAt: now, Epoch: 3},
	}
}

// troubled is a status with many problems.
func troubled() *status.Status {
	s := idle()
	since, repaired := s.At.Add(-4*time.Minute), s.At.Add(-26*time.Hour)
	s.Level = status.Critical
	s.Problems = []status.Problem{
		{
			Level:   status.Critical,
			Code:    "destination_unavailable",
			Problem: queue + " has accepted nothing: timeout",
			Next:    "fix the cause in the answer",
			Runbook: "Delivery delayed",
		},
		{
			Level:   status.Warning,
			Code:    "events_parked",
			Problem: "3 events are parked",
			Next:    "redrive or discard them",
			Runbook: "Events parked",
		},
	}
	worker := &s.Relays[0]
	worker.Events = status.Events{InFlight: 812, OldestWaitSeconds: 240, ReadPerSecond: 120, DeliveredPerSecond: 80}
	worker.Destinations[1] = status.Destination{
		Name: queue, State: status.DestinationUnavailable, Since: &since,
		Code: "timeout", Error: "<b>no answer</b> within 10s", Failures: 31,
	}
	s.Deferrals = []status.Deferral{
		{Destination: queue, Events: 4100, Since: since, Reason: "the destination has accepted nothing"},
		{
			Destination: topic, Aggregates: 2, Largest: "order 4711", Events: 900, Since: since,
			Reason: "its events used up their share of the window",
		},
	}
	s.Slot.DeliveryLagBytes = 5 << 20
	s.LastGap = &status.Gap{FoundAt: s.At.Add(-27 * time.Hour), Reason: "the slot is gone", RepairedAt: &repaired}
	s.DeadLetters = []status.DeadLetter{
		{Destination: topic, Code: "It's bad", Refused: true, Events: 3, OldestAt: since},
	}
	return s
}

// relay is a server of the page whose data the test sets.
type relay struct {
	*httptest.Server
	status atomic.Pointer[status.Status]
	code   atomic.Int64
	// waiting is the number of rows that wait.
	waiting atomic.Int64
	// isBusy has a new event before the others in each answer, and delivers the waiting one.
	isBusy atomic.Bool
}

func newRelay(t *testing.T, s *status.Status) *relay {
	t.Helper()
	r := &relay{}
	r.status.Store(s)
	r.code.Store(http.StatusOK)
	r.Server = httptest.NewServer(page.Handler(map[string]http.Handler{
		"GET /status": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			now := *r.status.Load()
			now.At = time.Now().UTC()
			w.WriteHeader(int(r.code.Load()))
			_ = json.NewEncoder(w).Encode(now)
		}),
		"GET /events":      http.HandlerFunc(r.lastEvents),
		"GET /events/{id}": http.HandlerFunc(oneEvent),
	}))
	t.Cleanup(r.Close)
	return r
}

const accepted, waiting = "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11", "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e12"

// known returns an accepted event and a waiting one, always the same.
var known = sync.OnceValue(func() []history.Event {
	now, seq := time.Now().UTC(), int64(4711)
	written := now.Add(-3 * time.Second).Format(time.RFC3339Nano)
	return []history.Event{
		{
			ID:            waiting,
			Type:          "order.paid",
			AggregateType: "order",
			AggregateID:   "17",
			CreatedAt:     written,
			State:         history.Waiting,
			Reason:        "it is committed",
		},
		{
			ID: accepted, Type: "order.created", AggregateType: "order", AggregateID: "17",
			Sequence: &seq, CreatedAt: written, State: history.Accepted,
			Acceptances: []history.Acceptance{
				{
					Destination: topic,
					MessageID:   "message-4711",
					CommittedAt: &now,
					ReadAt:      &now,
					SentAt:      now,
					AcceptedAt:  now,
				},
			},
		},
	}
})

func (r *relay) lastEvents(w http.ResponseWriter, _ *http.Request) {
	events := slices.Clone(known())
	if r.isBusy.Load() {
		events[0].State = history.Done
		id := "new-" + strconv.FormatInt(time.Now().UnixNano(), 10)
		events = append([]history.Event{{ID: id, Type: "order.shipped", State: history.Done}}, events...)
	}
	_ = json.NewEncoder(w).Encode(
		history.Last{Version: 1, Events: events, Waiting: &history.Backlog{Events: int(r.waiting.Load())}})
}

func oneEvent(w http.ResponseWriter, r *http.Request) {
	one := history.One{
		Version: 1,
		Event:   history.Event{ID: r.PathValue("id"), State: history.Unknown, Reason: "the table has no such event"},
		Unknown: []string{"what others sent"},
	}
	for _, e := range known() {
		if e.ID == one.ID {
			one.Found, one.Event = true, e
		}
	}
	_ = json.NewEncoder(w).Encode(one)
}
