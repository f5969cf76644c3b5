package audit

import (
	"hash/maphash"
	"slices"
	"sync"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// maxRecent bounds the memory of [Recent], at eight bytes a row.
const maxRecent = 1 << 18

// Recent remembers individually the rows that a session has read since its last horizon. It does no
// I/O and is safe for concurrent use.
//
// The counts of a [Ledger] do not distinguish a row that was not streamed from a row that was
// deleted, because both change the same number.
type Recent struct {
	seed maphash.Seed

	mu       sync.Mutex
	ranges   map[uint64]*xidRange // by the leading bits of their xids
	last     *xidRange            // the range of the last added row
	count    int                  // rows in all ranges
	overflow uint64               // the highest xid of a row that did not fit
}

// A row is one word: the low bits of its xid, and a hash that distinguishes it from the other rows
// of its transaction.
const (
	// hashBits is large enough that one of a thousand million unread rows collides with any of
	// maxRecent rows that were read.
	hashBits = 48
	xidBits  = 64 - hashBits
)

type recentRow uint64

func (r recentRow) hash() uint64 { return uint64(r) & (1<<hashBits - 1) }

// xidRange holds the rows of 1<<xidBits consecutive transaction ids.
type xidRange struct {
	first  uint64        // its lowest xid
	pieces [][]recentRow // add appends to the last one
}

// recentPiece is the number of rows of a piece of 32 KB. A growing slice would copy megabytes
// during a backlog, and keep them afterwards.
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

// forget removes the rows that a horizon shows, and returns the number of the other rows.
func (r *xidRange) forget(horizon pgsnapshot.Snapshot) (left int) {
	shown := func(row recentRow) bool { return horizon.Visible(r.xid(row)) }
	for i, piece := range r.pieces {
		r.pieces[i] = slices.DeleteFunc(piece, shown)
		left += len(r.pieces[i])
	}
	r.pieces = slices.DeleteFunc(r.pieces, func(piece []recentRow) bool { return len(piece) == 0 })
	return left
}

func NewRecent() *Recent {
	return &Recent{seed: maphash.MakeSeed(), ranges: map[uint64]*xidRange{}}
}

// Add remembers a row by its transaction, seq and id.
func (r *Recent) Add(xid uint64, seq, id string) { r.add(xid, seq, id, nil) }

// add is Add for a row of one of several tables.
func (r *Recent) add(xid uint64, seq, id string, source *outbox.Source) {
	row := recentRow(xid<<hashBits | r.hash(xid, seq, id, source))
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

// Forget removes the rows that a horizon shows.
func (r *Recent) Forget(horizon pgsnapshot.Snapshot) {
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

// of returns the hashes of a step's rows. complete is false if a row that may belong to the step
// did not fit.
func (r *Recent) of(s Step) (hashes map[uint64]bool, complete bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.overflow != 0 && r.overflow >= s.From.Xmin() {
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
func (r *Recent) hash(xid uint64, seq, id string, source *outbox.Source) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	maphash.WriteComparable(&h, xid)
	if source != nil {
		maphash.WriteComparable(&h, source.Number)
	}
	_, _ = h.WriteString(seq)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(id)
	return h.Sum64() & (1<<hashBits - 1)
}
