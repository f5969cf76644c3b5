package deferral

import (
	"maps"
	"time"
)

// refusals has the message groups that could not be deferred, and until when they are not looked at
// again.
type refusals map[key]time.Time

func (r *refusals) add(k key, duration time.Duration) {
	if *r == nil {
		*r = refusals{}
	}
	now := time.Now()
	maps.DeleteFunc(*r, func(_ key, until time.Time) bool { return !now.Before(until) })
	(*r)[k] = now.Add(duration)
}

// of returns whether groups of a destination are refused now.
func (r refusals) of(destination string) func(group string) bool {
	now := time.Now()
	return func(group string) bool { return now.Before(r[key{destination, group}]) }
}
