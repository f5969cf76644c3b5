package recovery

import (
	"hash/maphash"
	"slices"
	"strconv"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// maxPublished bounds the memory of [Published], at sixteen bytes a row.
const maxPublished = 1 << 20

// Published remembers the rows that a recovery read from the table, so that those which the slot brings too are not sent twice.
// A row is known by its seq together with its transaction and its id: another table that took the place of the outbox table, or
// a partition that was attached, may give out the same seqs. Rows beyond a million are not remembered, and may come twice.
type Published struct {
	seed maphash.Seed
	rows []publishedRow // in order of seq
}

type publishedRow struct {
	seq  int64
	hash uint64 // of xid and id
}

// NewPublished returns a Published that remembers nothing yet.
func NewPublished() *Published { return &Published{seed: maphash.MakeSeed()} }

// Add remembers a row. Rows come in order of seq.
func (p *Published) Add(e *outbox.Envelope) {
	if seq, err := strconv.ParseInt(e.Sequence, 10, 64); err == nil && len(p.rows) < maxPublished {
		p.rows = append(p.rows, publishedRow{seq, p.hash(e)})
	}
}

// Has reports whether the row was added and is remembered.
func (p *Published) Has(e *outbox.Envelope) bool {
	seq, err := strconv.ParseInt(e.Sequence, 10, 64)
	if err != nil {
		return false
	}
	first, _ := slices.BinarySearchFunc(p.rows, seq, func(r publishedRow, seq int64) int {
		switch {
		case r.seq < seq:
			return -1
		case r.seq > seq:
			return 1
		}
		return 0
	})
	wanted := publishedRow{seq, p.hash(e)}
	for ; first < len(p.rows) && p.rows[first].seq == seq; first++ {
		if p.rows[first] == wanted {
			return true
		}
	}
	return false
}

func (p *Published) hash(e *outbox.Envelope) uint64 {
	var h maphash.Hash
	h.SetSeed(p.seed)
	_, _ = h.WriteString(e.XID)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(e.ID)
	return h.Sum64()
}
