package network

import (
	"bytes"
	"slices"
)

// Stop holds back what is said with a certain text in it.
type Stop struct {
	// Reached is closed when something is held back.
	Reached chan struct{}

	network *Network
	text    []byte
	reached bool
}

// HoldBack has everything wait that holds text, with what its speaker says after it on the same connection, until
// [Stop.Pass].
func (n *Network) HoldBack(text string) *Stop {
	s := &Stop{Reached: make(chan struct{}), network: n, text: []byte(text)}
	n.change(func() { n.stops = append(n.stops, s) })
	return s
}

// Pass lets everything go on, from now on too.
func (s *Stop) Pass() {
	n := s.network
	n.change(func() {
		n.stops = slices.DeleteFunc(n.stops, func(other *Stop) bool { return other == s })
	})
}

// holdsBack reports whether something that is said has to wait. n.mu is held.
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
