package faultproxy

import (
	"bytes"
	"slices"
)

// Stop holds back bytes that contain a certain text.
type Stop struct {
	// Reached is closed when bytes are held back for the first time.
	Reached chan struct{}

	network *Network
	text    []byte
	reached bool
}

// HoldBack holds back every chunk that contains text, and later bytes of the same side on the same
// connection, until [Stop.Pass].
func (n *Network) HoldBack(text string) *Stop {
	s := &Stop{Reached: make(chan struct{}), network: n, text: []byte(text)}
	n.change(func() { n.stops = append(n.stops, s) })
	return s
}

// Pass forwards the held bytes and ends the Stop.
func (s *Stop) Pass() {
	n := s.network
	n.change(func() {
		n.stops = slices.DeleteFunc(n.stops, func(other *Stop) bool { return other == s })
	})
}

// holdsBack reports whether these bytes have to wait. n.mu is held.
func (n *Network) holdsBack(said []byte) bool {
	for _, s := range n.stops {
		if !bytes.Contains(said, s.text) {
			continue
		}
		if !s.reached {
			s.reached = true
			close(s.Reached)
		}
		return true
	}
	return false
}
