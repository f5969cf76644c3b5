package pacer

import "time"

const (
	// margin is how far below the measured rate the next requests are sent. The bucket fills
	// meanwhile, and the growth above the measured rate drains it, so that the margin costs no
	// throughput.
	margin = 0.02
	// enough requests, or longEnough, make a measurement. If at least a tenth of them is refused,
	// few are sufficient.
	enough, few = 100, 50
	longEnough  = time.Second
	dense       = 0.1
	// grown is the growth during a measurement from which on the bucket may have been full in
	// between.
	grown = 1.1
	// mostCut is the minimum share of the rate that remains if there were fewer requests than it
	// allowed.
	mostCut = 0.8
	// lost is the share of the rate below which a measurement is doubted. A search begins there.
	lost = 0.33
	// lowest is the lowest rate, in requests a second.
	lowest = 0.1

	// firstRate is the minimum rate at which the first search begins, in requests a second, and
	// leastRate that of a later one. The rate doubles each searchStep until requests are refused,
	// and then each searchMeasure.
	firstRate     = 100
	leastRate     = 10
	searchStep    = 20 * time.Millisecond
	searchMeasure = 250 * time.Millisecond
	// found is the share of refused requests that ends a search, of at least fewest requests. With
	// it, a relay gets its share of a quota that another relay uses up: the bucket serves both in
	// proportion to their requests.
	found  = 0.4
	fewest = 20
)

// recent counts the requests that a destination accepted in the current second and in the one
// before.
type recent struct {
	began         time.Time // start of the current second
	taken, before int
}

func (r *recent) add(outcome Outcome, now time.Time) {
	if age := now.Sub(r.began); age >= time.Second {
		r.before = r.taken
		if age >= 2*time.Second {
			r.before = 0
		}
		r.began, r.taken = now, 0
	}
	if outcome == Accepted {
		r.taken++
	}
}

func (r *recent) perSecond() float64 { return float64(max(r.taken, r.before)) }

// measurement counts the outcomes of requests since a refusal.
type measurement struct {
	began          time.Time
	rate           float64 // at its beginning
	taken, refused int
	stale          int  // outcomes that are still to come of requests sent at an earlier rate
	unused         bool // there were fewer requests than the rate allowed
}

func (m *measurement) add(outcome Outcome) {
	switch outcome {
	case Accepted:
		m.taken++
	case Throttled:
		m.refused++
	}
}

// skip ignores a stale outcome. The measurement begins after the last one.
func (m *measurement) skip(now time.Time) {
	if m.stale--; m.stale == 0 {
		m.began = now
	}
}

func (m *measurement) all() int { return m.taken + m.refused }

// refusedPart returns the share of refused requests.
func (m *measurement) refusedPart() float64 { return float64(m.refused) / float64(max(1, m.all())) }

// set begins a measurement at a rate.
func (p *Pacer) set(rate float64, now time.Time) {
	p.rate = max(rate, lowest)
	if p.limit > 0 {
		p.rate = min(p.rate, p.limit)
	}
	p.measure = measurement{began: now, rate: p.rate}
}

func (p *Pacer) search(rate float64, now time.Time) {
	p.searching = true
	p.set(max(rate, leastRate), now)
	p.measure.stale = p.inFlight
}

func (p *Pacer) find(rate float64, now time.Time) {
	p.searching, p.falling = false, false
	p.set(rate, now)
}

// judge ends a measurement that is complete.
func (p *Pacer) judge(outcome Outcome, now time.Time) {
	m := &p.measure
	elapsed := now.Sub(m.began)
	measured := float64(m.taken) / elapsed.Seconds()
	switch {
	case p.searching && m.isStep(elapsed, p.falling):
		p.step(measured, now)
	case !p.searching && outcome == Throttled && m.isComplete(elapsed, p.scale()):
		p.adapt(measured, now)
	}
}

func (m *measurement) isComplete(elapsed time.Duration, scale float64) bool {
	return elapsed.Seconds() >= longEnough.Seconds()*scale || m.taken >= enough ||
		m.all() >= few && m.refusedPart() >= dense
}

// isStep reports whether a search has enough outcomes at its rate. A falling rate is judged by the
// number of requests alone, because there may be one in a second or fewer.
func (m *measurement) isStep(elapsed time.Duration, falling bool) bool {
	if falling && m.all() < fewest/2 {
		return false
	}
	return elapsed >= searchMeasure || elapsed >= searchStep && (m.all() >= few || m.refused == 0 && m.taken > 1)
}

// step doubles the rate of a search until so many requests are refused that the accepted ones show
// the rate of the destination.
func (p *Pacer) step(measured float64, now time.Time) {
	m := p.measure
	switch {
	case m.taken == 0:
		p.falling = true
		p.search(p.rate/2, now)
	case m.unused && (m.refused == 0 || p.falling):
		p.falling = false
		p.search(p.rate, now)
	case m.unused:
		p.find(max(measured, p.rate*mostCut), now)
	case p.rate == p.limit && m.refused == 0:
		p.find(p.rate, now)
	case p.rate != p.limit && (m.refusedPart() < found || m.all() < fewest && !p.falling):
		p.falling = false
		p.search(p.rate*2, now)
	default:
		p.find(measured*(1-margin), now)
	}
}

// adapt sets the rate that was measured between two refusals. If there were fewer requests than the
// rate allowed, or if the rate grew much, the bucket may have been full and accepted less than it
// could. Then the measurement is repeated.
func (p *Pacer) adapt(measured float64, now time.Time) {
	m := p.measure
	switch {
	case m.unused && m.refusedPart() >= margin:
		p.set(max(measured, p.rate*mostCut), now)
	case m.unused, p.rate > m.rate*grown && p.rate > measured*grown:
		p.set(p.rate, now)
	case measured < p.rate*lost:
		p.search(measured, now)
	default:
		p.known = measured
		p.set(measured*(1-margin), now)
	}
}
