package deferral

// maxUndelivered bounds the memory of all undelivered sets of a Gate to about 5 MB, and
// maxUndeliveredOfOne that of one.
const maxUndelivered, maxUndeliveredOfOne = 1 << 18, 1 << 16

// undelivered has the seqs of rows that were visible when this session began a deferral and that
// were not delivered. Every other row that was visible then was. The groups that leave the pass of
// their destination share the set of the destination.
//
// A set that lacks one row would have it lost. So a set without room knows nothing, and rows that
// were delivered shortly before may be sent again. A nil set knows nothing either.
type undelivered struct {
	budget *budget // of seqs
	seqs   map[int64]struct{}
	full   bool // there was no room
	users  int  // deferrals that share the set
}

func newUndelivered(b *budget) *undelivered {
	return &undelivered{budget: b, seqs: map[int64]struct{}{}, users: 1}
}

// shared returns the set for one more deferral.
func (u *undelivered) shared() *undelivered {
	if u != nil {
		u.users++
	}
	return u
}

// unshare is called for each deferral that no longer needs the set.
func (u *undelivered) unshare() {
	if u == nil {
		return
	}
	if u.users--; u.users == 0 {
		u.clear()
	}
}

func (u *undelivered) add(seq int64) {
	if u.full {
		return
	}
	if _, known := u.seqs[seq]; known {
		return
	}
	if len(u.seqs) == maxUndeliveredOfOne || !u.budget.reserve() {
		u.full = true
		u.clear()
		return
	}
	u.seqs[seq] = struct{}{}
}

func (u *undelivered) clear() {
	u.budget.release(len(u.seqs))
	u.seqs = nil
}

// wasDelivered reports whether a row that was visible when the deferral began is known to be
// delivered.
func (u *undelivered) wasDelivered(seq int64) bool {
	if u == nil || u.full {
		return false
	}
	_, waits := u.seqs[seq]
	return !waits
}
