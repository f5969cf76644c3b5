package delivery

import "time"

// The events behind a dead letter of their group become dead letters too, unless they can wait in
// the outbox table. Package deferral decides that and withdraws the events. The first of them
// stays in its group until then, and asks in its turn whether the group is still blocked.

// BehindGroup is a group whose events wait behind a dead letter.
type BehindGroup struct {
	Group  string
	Row    Row  // of the first waiting event
	Joined bool // [Event.Joined] of that event
}

// DeferBehind says whether events behind a dead letter wait to be deferred, instead of being
// parked.
func (d *Delivery) DeferBehind(destination int, wait bool) {
	s := d.senders[destination]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scheduler.defersBehind = wait
}

// Behind returns the groups of a destination whose first event had its turn and waits behind a dead
// letter.
func (d *Delivery) Behind(destination int) []BehindGroup {
	s := d.senders[destination]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scheduler.listBehind()
}

// ParkBehind has the waiting events of a group parked behind its dead letter, because they cannot
// wait in the outbox table. It holds until the group is no longer blocked.
func (d *Delivery) ParkBehind(destination int, group string) {
	s := d.senders[destination]
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, blocked := s.scheduler.blocked[group]; blocked {
		s.scheduler.parkBehind(group, time.Now())
		s.start()
	}
}

// waitsBehind reports whether e, whose group is blocked, waits in place of being parked.
func (s *sender) waitsBehind(e *Event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scheduler.waitBehind(e.Message.GroupID)
}

// waitBehind has e wait behind the dead letter of its group, unless it is that event itself, which
// comes again.
func (s *sender) waitBehind(e *Event) {
	letter := DeadLetter{Destination: s.Name, Message: &e.Message, Row: e.Row}
	parked, err := s.delivery.deps.Parker.IsParked(s.delivery.requests, letter)
	switch {
	case err != nil:
		e.err = err
		s.delivery.end(err)
	case !parked:
		e.err = errBlocked
	}
}

// behind is the state of a blocked group.
type behind uint8

const (
	behindWaits  behind = iota // its first event waits to be deferred
	behindParked               // its events are parked
)

func (s *scheduler) waitBehind(key string) bool {
	if !s.defersBehind || s.behind[key] == behindParked {
		return false
	}
	s.behind[key] = behindWaits
	return true
}

func (s *scheduler) listBehind() (waiting []BehindGroup) {
	for key, state := range s.behind {
		g := s.groups[key]
		switch {
		case state == behindParked:
		case g == nil:
			delete(s.behind, key)
		default:
			for e := g.first; e != nil; e = e.next {
				if e.isManual() {
					continue
				}
				if !e.Joined || e.Behind { // others may be sent
					waiting = append(waiting, BehindGroup{Group: key, Row: e.Row, Joined: e.Joined})
				}
				break
			}
		}
	}
	return waiting
}

// parkBehind has the events of a group parked, the first of them at once.
func (s *scheduler) parkBehind(key string, now time.Time) {
	g := s.groups[key]
	if g == nil { // its events were withdrawn meanwhile
		return
	}
	s.behind[key] = behindParked
	if g.state == groupWaiting {
		s.hold(key)
		s.release(key, now)
	}
}

// isBehind reports whether the first event of a group waits behind a dead letter.
func (s *scheduler) isBehind(key string) bool {
	_, known := s.behind[key]
	return known
}
