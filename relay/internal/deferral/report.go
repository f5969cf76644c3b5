package deferral

import (
	"context"
	"time"
)

// reportInterval is how often the waiting events are reported to the observer.
const reportInterval = time.Second

// report reports the waiting events to the observer.
func (w *Worker) report(ctx context.Context) error {
	waiting, _ := w.Gate.deferred()
	if len(waiting) == 0 && len(w.reported) == 0 || time.Since(w.reportedAt) < reportInterval {
		return nil
	}
	w.reportedAt = time.Now()
	all, err := w.Store.Summarize(ctx)
	if err != nil {
		return err
	}
	var destinations, groups, behind int
	var oldest, oldestGroup time.Duration
	events := map[string]int64{}
	for _, s := range all {
		events[s.Destination] += s.Events
		switch {
		case s.Groups > 0 && s.Reason == ReasonBehind:
			behind += s.Groups
		case s.Groups > 0:
			groups, oldestGroup = groups+s.Groups, max(oldestGroup, time.Since(s.Since))
		case !w.pauses.has(s.Destination):
			destinations, oldest = destinations+1, max(oldest, time.Since(s.Since))
		}
	}
	reported := map[string]bool{}
	for destination, n := range events {
		reported[destination] = true
		w.Observer.Deferred(destination, n)
	}
	w.reportNone(reported)
	w.Observer.Deferrals(destinations, oldest)
	w.Observer.DeferredGroups(groups, oldestGroup)
	w.Observer.DeferredBehind(behind)
	w.reported = reported
	return nil
}

// reportNone reports the destinations of which no event waits any more.
func (w *Worker) reportNone(waiting map[string]bool) {
	for name := range w.reported {
		if !waiting[name] {
			w.Observer.Deferred(name, 0)
		}
	}
}
