package delivery

import "time"

// A paused destination gets no request. Its events stay in the scheduler until package deferral
// withdraws them. Those that an operator redrove or replayed, and those of a pass, stay until the
// pause ends.

// Pause starts no further request to a destination, until it is called with false. Requests in
// flight end by themselves: see [Delivery.Hold].
func (d *Delivery) Pause(destination int, paused bool) { d.senders[destination].pause(paused) }

func (s *sender) pause(paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Paused == paused {
		return
	}
	s.Paused = paused
	s.delivery.deps.Observer.Paused(s.Name, paused)
	if paused {
		s.log.Info("destination paused: no further request is sent to it", "event", "paused")
		return
	}
	s.log.Info("destination resumed", "event", "resumed")
	s.scheduler.resume(time.Now())
	s.start()
}

func (s *sender) isPaused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Paused
}

// resume lets the next request probe the destination at once. The time of a pause does not count
// towards ParkAfter.
func (s *scheduler) resume(now time.Time) {
	if s.failures > 0 {
		s.failing, s.retryAt = now, now
	}
}
