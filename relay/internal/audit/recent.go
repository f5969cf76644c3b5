package audit

import (
	"hash/maphash"
	"slices"
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
	pieces   [][]recentRow // a row is added to the last one
	count    int           // rows in all pieces
	overflow uint64        // the highest xid of a row that there was no room for
}

// recentPiece is the number of rows of a piece: 64 KB. A growing slice would copy megabytes while a
// backlog is read, and keep them afterwards.
const recentPiece = 1 << 12

type recentRow struct{ xid, hash uint64 }

// NewRecent returns a Recent that remembers nothing yet.
func NewRecent() *Recent { return &Recent{seed: maphash.MakeSeed()} }

// Add remembers a row: its transaction, and what tells it from every other row of that transaction.
func (r *Recent) Add(xid uint64, seq, id string) {
	hash := r.hash(xid, seq, id)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count == maxRecent {
		r.overflow = max(r.overflow, xid)
		return
	}
	last := len(r.pieces) - 1
	if last < 0 || len(r.pieces[last]) == recentPiece {
		r.pieces = append(r.pieces, make([]recentRow, 0, recentPiece))
		last++
	}
	r.pieces[last] = append(r.pieces[last], recentRow{xid, hash})
	r.count++
}

// Forget drops the rows that a horizon shows.
func (r *Recent) Forget(horizon Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	shown := func(row recentRow) bool { return horizon.Visible(row.xid) }
	r.count = 0
	for i, piece := range r.pieces {
		r.pieces[i] = slices.DeleteFunc(piece, shown)
		r.count += len(r.pieces[i])
	}
	r.pieces = slices.DeleteFunc(r.pieces, func(piece []recentRow) bool { return len(piece) == 0 })
}

// of returns the hashes of the rows of a step. They are not complete if there was no room for one
// that may belong to it.
func (r *Recent) of(s Step) (hashes map[uint64]bool, complete bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.overflow != 0 && r.overflow >= s.From.xmin() {
		return nil, false
	}
	hashes = make(map[uint64]bool, r.count)
	for _, piece := range r.pieces {
		for _, row := range piece {
			if s.Has(row.xid) {
				hashes[row.hash] = true
			}
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
