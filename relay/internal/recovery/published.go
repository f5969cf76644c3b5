package recovery

import (
	"hash/maphash"
	"slices"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// maxPublished bounds the memory of [Published], at sixteen bytes a row.
const maxPublished = 1 << 20

// Published remembers the rows that a recovery read from the table. The handler skips them when the
// slot brings them too.
//
// A row is identified by common seq, transaction id and event id. The seq alone is not enough: a
// table that replaced the outbox table, or an attached partition, may contain the same seqs. At
// most maxPublished rows are remembered, and later ones may arrive twice.
type Published struct {
	seed maphash.Seed
	rows []publishedRow // in order of seq
}

type publishedRow struct {
	seq  int64
	hash uint64 // of xid and id
}

func NewPublished() *Published { return &Published{seed: maphash.MakeSeed()} }

// Add remembers a row. The caller adds rows in order of seq.
func (p *Published) Add(e *outbox.Envelope) {
	if seq, err := e.CommonSeq(); err == nil && len(p.rows) < maxPublished {
		p.rows = append(p.rows, publishedRow{seq, p.hash(e)})
	}
}

// Has reports whether the row is remembered.
func (p *Published) Has(e *outbox.Envelope) bool {
	seq, err := e.CommonSeq()
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
