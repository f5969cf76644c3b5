package audit

import (
	"hash/maphash"
	"sync"
)

// maxRecent bounds the memory of [Recent], at sixteen bytes a row.
const maxRecent = 1 << 18

// Recent remembers, one by one, the rows that a session has read and that its last horizon does not
// show. It does no I/O and may be used by several goroutines.
//
// The counts of a [Ledger] cannot tell a row that was not streamed from one that was deleted: both
// change the same number.
type Recent struct {
	seed maphash.Seed

	mu       sync.Mutex
	rows     []recentRow
	overflow uint64 // the highest xid of a row that there was no room for
}

type recentRow struct{ xid, hash uint64 }

// NewRecent returns a Recent that remembers nothing yet.
func NewRecent() *Recent { return &Recent{seed: maphash.MakeSeed()} }

// Add remembers a row: its transaction, and what tells it from every other row of that transaction.
func (r *Recent) Add(xid uint64, seq, id string) {
	hash := r.hash(xid, seq, id)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.rows) == maxRecent {
		r.overflow = max(r.overflow, xid)
		return
	}
	r.rows = append(r.rows, recentRow{xid, hash})
}

// Forget drops the rows that a horizon shows.
func (r *Recent) Forget(horizon Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.rows[:0]
	for _, row := range r.rows {
		if !horizon.Visible(row.xid) {
			kept = append(kept, row)
		}
	}
	r.rows = kept
}

// of returns the hashes of the rows of a step. They are not complete if there was no room for one
// that may belong to it.
func (r *Recent) of(s Step) (hashes map[uint64]bool, complete bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.overflow != 0 && r.overflow >= s.From.xmin() {
		return nil, false
	}
	hashes = make(map[uint64]bool, len(r.rows))
	for _, row := range r.rows {
		if s.Has(row.xid) {
			hashes[row.hash] = true
		}
	}
	return hashes, true
}

func (r *Recent) hash(xid uint64, seq, id string) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	maphash.WriteComparable(&h, xid)
	_, _ = h.WriteString(seq)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(id)
	return h.Sum64()
}
