package main

import (
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/span"
)

const (
	// paceWindow is the time over which a pace is measured. The relay works in bursts, so a shorter
	// time shows one rate and then another.
	paceWindow = time.Minute
	// paceKnownAfter is the time after which a pace gives an estimate for the rest.
	paceKnownAfter = 5 * time.Second
)

// pace measures how fast a number grows, over the last minute.
type pace struct{ samples []paceSample }

type paceSample struct {
	at   time.Time
	done int64
}

// add takes the number at a time.
func (p *pace) add(at time.Time, done int64) {
	p.samples = append(p.samples, paceSample{at, done})
	for len(p.samples) > 2 && at.Sub(p.samples[1].at) >= paceWindow {
		p.samples = p.samples[1:]
	}
}

// measured returns the growth within the window, and its time.
func (p *pace) measured() (grown int64, took time.Duration) {
	if len(p.samples) == 0 {
		return 0, 0
	}
	first, last := p.samples[0], p.samples[len(p.samples)-1]
	return last.done - first.done, last.at.Sub(first.at)
}

// describe describes the pace and the rest, with an estimate once the pace is known.
func (p *pace) describe(left int64) string {
	grown, took := p.measured()
	perSecond := 0.0
	if took > 0 {
		perSecond = float64(grown) / took.Seconds()
	}
	text := fmt.Sprintf("%.0f a second, %d left", perSecond, left)
	if perSecond > 0 && took >= paceKnownAfter {
		text += ", about " + span.Format(time.Duration(float64(left)/perSecond*float64(time.Second)))
	}
	return text
}
