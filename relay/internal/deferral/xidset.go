package deferral

import "github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"

// maxXIDs bounds the memory of all xidSets of a Gate to about 10 MB, and maxXIDsOfOne that of one.
const maxXIDs, maxXIDsOfOne = 1 << 18, 1 << 16

// xidSet has transactions until a snapshot shows them. Where it has no room, it knows the highest
// alone.
type xidSet struct {
	budget   *budget // of xids
	xids     map[uint64]struct{}
	overflow uint64
}

func (s *xidSet) add(xid uint64) {
	if _, known := s.xids[xid]; known {
		return
	}
	if len(s.xids) == maxXIDsOfOne || !s.budget.reserve() {
		s.overflow = max(s.overflow, xid)
		return
	}
	if s.xids == nil {
		s.xids = map[uint64]struct{}{}
	}
	s.xids[xid] = struct{}{}
}

func (s *xidSet) forget(shown pgsnapshot.Snapshot) {
	for xid := range s.xids {
		if shown.Visible(xid) {
			delete(s.xids, xid)
			s.budget.release(1)
		}
	}
	if shown.IsPast(s.overflow + 1) {
		s.overflow = 0
	}
}

func (s *xidSet) clear() {
	s.budget.release(len(s.xids))
	s.xids, s.overflow = nil, 0
}

func (s *xidSet) areShown(by pgsnapshot.Snapshot) bool {
	for xid := range s.xids {
		if !by.Visible(xid) {
			return false
		}
	}
	return s.overflow == 0 || by.IsPast(s.overflow+1)
}
