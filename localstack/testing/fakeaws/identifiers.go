package fakeaws

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
)

// identifiers generates ids in the formats of AWS. A counter makes them unique. Those of AWS are
// random.
type identifiers struct {
	prefix   [8]byte
	counter  atomic.Uint64
	sequence atomic.Uint64
}

func newIdentifiers() *identifiers {
	ids := &identifiers{}
	binary.BigEndian.PutUint64(ids.prefix[:], rand.Uint64())
	return ids
}

// uuid returns a MessageId or RequestId.
func (ids *identifiers) uuid() string {
	var id [16]byte
	copy(id[:8], ids.prefix[:])
	binary.BigEndian.PutUint64(id[8:], ids.counter.Add(1))
	id[6] = id[6]&0x0f | 0x40 // version 4
	id[8] = 0x80              // variant; the counter does not reach it
	var text [36]byte
	hex.Encode(text[:8], id[:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:], id[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// firstSequence has 20 digits, like the sequence numbers of AWS.
const firstSequence = 10_000_000_000_000_000_000

// sequenceNumber returns the next sequence number of a FIFO destination. The numbers need not be
// consecutive.
func (ids *identifiers) sequenceNumber() string {
	return strconv.FormatUint(firstSequence+ids.sequence.Add(1), 10)
}
