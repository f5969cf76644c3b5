package audit

import (
	"hash/maphash"
	"slices"
	"sync"
)

// maxRecent bounds the memory of [Recent], at eight bytes a row.
const maxRecent = 1 << 18

// Recent remembers, one by one, the rows that a session has read and that its last horizon does not
// show. It does no I/O and may be used by several goroutines.
//
// The counts of a [Ledger] cannot tell a row that was not streamed from one that was deleted: both
// change the same number.
type Recent struct {
	seed maphash.Seed

	mu       sync.Mutex
	ranges   map[uint64]*xidRange // by the leading bits of their xids
	last     *xidRange            // the one that the last row was added to
	count    int                  // rows in all ranges
	overflow uint64               // the highest xid of a row that there was no room for
}

// A row is one word: the low bits of its xid, and a hash of all that tells it from the other rows
// of its transaction.
const (
	// hashBits makes a row that was not read look like one of maxRecent that were once in a
	// thousand million times.
	hashBits = 48
	xidBits  = 64 - hashBits
)

type recentRow uint64

func (r recentRow) hash() uint64 { return uint64(r) & (1<<hashBits - 1) }

// xidRange holds the rows of 1<<xidBits consecutive transaction ids.
type xidRange struct {
	first  uint64        // its lowest xid
	pieces [][]recentRow // a row is added to the last one
}

// recentPiece is the number of rows of a piece: 32 KB. A growing slice would copy megabytes while a
// backlog is read, and keep them afterwards.
const recentPiece = 1 << 12

func (r *xidRange) xid(row recentRow) uint64 { return r.first | uint64(row)>>hashBits }

func (r *xidRange) add(row recentRow) {
	last := len(r.pieces) - 1
	switch {
	case last < 0: // a range may have few rows
		r.pieces = append(r.pieces, nil)
		last++
	case len(r.pieces[last]) == recentPiece:
		r.pieces = append(r.pieces, make([]recentRow, 0, recentPiece))
		last++
	}
	r.pieces[last] = append(r.pieces[last], row)
}

// forget drops the rows that a horizon shows, and returns the number of those that stay.
func (r *xidRange) forget(horizon Snapshot) (left int) {
	shown := func(row recentRow) bool { return horizon.Visible(r.xid(row)) }
	for i, piece := range r.pieces {
		r.pieces[i] = slices.DeleteFunc(piece, shown)
		left += len(r.pieces[i])
	}
	r.pieces = slices.DeleteFunc(r.pieces, func(piece []recentRow) bool { return len(piece) == 0 })
	return left
}

// NewRecent returns a Recent that remembers nothing yet.
func NewRecent() *Recent {
	return &Recent{seed: maphash.MakeSeed(), ranges: map[uint64]*xidRange{}}
}

// Add remembers a row: its transaction, and what tells it from every other row of that transaction.
func (r *Recent) Add(xid uint64, seq, id string) {
	row := recentRow(xid<<hashBits | r.hash(xid, seq, id))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count == maxRecent {
		r.overflow = max(r.overflow, xid)
		return
	}
	r.rangeOf(xid).add(row)
	r.count++
}

// rangeOf returns the range of an xid. r.mu is held.
func (r *Recent) rangeOf(xid uint64) *xidRange {
	first := xid >> xidBits << xidBits
	if r.last != nil && r.last.first == first {
		return r.last
	}
	if r.last = r.ranges[first]; r.last == nil {
		r.last = &xidRange{first: first}
		r.ranges[first] = r.last
	}
	return r.last
}

// Forget drops the rows that a horizon shows.
func (r *Recent) Forget(horizon Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count, r.last = 0, nil
	for first, rows := range r.ranges {
		left := rows.forget(horizon)
		if r.count += left; left == 0 {
			delete(r.ranges, first)
		}
	}
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
	for _, rows := range r.ranges {
		for _, piece := range rows.pieces {
			for _, row := range piece {
				if s.Has(rows.xid(row)) {
					hashes[row.hash()] = true
				}
			}
		}
	}
	return hashes, true
}

// hash returns hashBits bits that identify a row.
func (r *Recent) hash(xid uint64, seq, id string) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	maphash.WriteComparable(&h, xid)
	_, _ = h.WriteString(seq)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(id)
	return h.Sum64() & (1<<hashBits - 1)
}
