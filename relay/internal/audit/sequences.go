package audit

import (
	"math"
	"slices"
	"sync"
)

// maxRanges bounds the memory of [Sequences], at sixteen bytes a range. Each insert that was rolled
// back leaves a permanent gap. Transactions that commit out of order leave gaps that close soon.
const maxRanges = 1 << 16

// Sequences stores the seq values of the rows that a session has read, as ranges. It does no I/O
// and is safe for concurrent use.
type Sequences struct {
	mu     sync.Mutex
	ranges []span // sorted, no two adjacent
	floor  int64  // values up to it may have been dropped
}

type span struct{ first, last int64 }

// NewSequences returns empty Sequences.
func NewSequences() *Sequences { return &Sequences{floor: math.MinInt64} }

// Add adds a value.
func (s *Sequences) Add(seq int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, found := s.find(seq)
	if found {
		return
	}
	joinsLeft := next > 0 && s.ranges[next-1].last+1 == seq
	joinsRight := next < len(s.ranges) && s.ranges[next].first-1 == seq
	switch {
	case joinsLeft && joinsRight:
		s.ranges[next-1].last = s.ranges[next].last
		s.ranges = slices.Delete(s.ranges, next, next+1)
	case joinsLeft:
		s.ranges[next-1].last = seq
	case joinsRight:
		s.ranges[next].first = seq
	default:
		s.ranges = slices.Insert(s.ranges, next, span{seq, seq})
		s.forget()
	}
}

// forget drops the lower half of the ranges once there are too many.
func (s *Sequences) forget() {
	if len(s.ranges) <= maxRanges {
		return
	}
	half := len(s.ranges) / 2
	s.floor = max(s.floor, s.ranges[half].first-1)
	s.ranges = slices.Delete(s.ranges, 0, half)
}

// Has reports whether a value was added. For values up to [Sequences.Floor] it can return false for
// a value that was added.
func (s *Sequences) Has(seq int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, found := s.find(seq)
	return found
}

// Floor returns the value up to which values may have been dropped.
func (s *Sequences) Floor() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.floor
}

// find returns the range that contains seq, or the next range. Most values are above all others.
func (s *Sequences) find(seq int64) (at int, found bool) {
	if n := len(s.ranges); n == 0 || s.ranges[n-1].last < seq {
		return n, false
	}
	at, _ = slices.BinarySearchFunc(s.ranges, seq, func(r span, seq int64) int {
		if r.last < seq {
			return -1
		}
		return 1
	})
	return at, s.ranges[at].first <= seq
}
