package deferral

import (
	"context"
	"time"
)

// tellInterval is how often the observer is told.
const tellInterval = time.Second

// tell tells the observer about the waiting events.
func (w *Worker) tell(ctx context.Context) error {
	waiting, _ := w.Gate.deferred()
	if len(waiting) == 0 && len(w.told) == 0 || time.Since(w.toldAt) < tellInterval {
		return nil
	}
	w.toldAt = time.Now()
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
	told := map[string]bool{}
	for destination, n := range events {
		told[destination] = true
		w.Observer.Deferred(destination, n)
	}
	w.tellNone(told)
	w.Observer.Deferrals(destinations, oldest)
	w.Observer.DeferredGroups(groups, oldestGroup)
	w.Observer.DeferredBehind(behind)
	w.told = told
	return nil
}

// tellNone tells the observer of the destinations of which no event waits any more.
func (w *Worker) tellNone(waiting map[string]bool) {
	for name := range w.told {
		if !waiting[name] {
			w.Observer.Deferred(name, 0)
		}
	}
}
