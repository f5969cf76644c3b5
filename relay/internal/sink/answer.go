package sink

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
)

// RequestID identifies one request. The Ids of its entries begin with it. If a connection, a proxy
// or a broker confuses answers, the answer to another request names no entry of this one and
// confirms no event.
type RequestID [16]byte

// NewRequestID returns a RequestID that no other request has.
func NewRequestID() (id RequestID) {
	var number [len(id) / 2]byte
	for i, random := 0, rand.Uint64(); i < len(number); i++ {
		number[i] = byte(random >> (8 * i))
	}
	hex.Encode(id[:], number[:])
	return id
}

// AppendEntry appends the Id of the message at position i of the batch: letters, digits and a
// hyphen, as both services require.
func (id RequestID) AppendEntry(text []byte, i int) []byte {
	return append(append(text, id[:]...), '-', '0'+byte(i))
}

// Entry returns the Id of the message at position i of the batch.
func (id RequestID) Entry(i int) string { return string(id.AppendEntry(nil, i)) }

// position returns the position of the message whose entry has this Id, or -1 if this request has
// no such entry. It makes no copy of entry.
func (id *RequestID) position(entry []byte) int {
	last := len(id) + 1
	if len(entry) != last+1 || !bytes.Equal(entry[:len(id)], id[:]) || entry[len(id)] != '-' {
		return -1
	}
	return int(entry[last]) - '0'
}

// Answer collects the results of a request's entries, and accepts only an answer that fits the
// request. An entry counts as durable if its Id was named exactly once, as successful.
type Answer struct {
	request RequestID
	results []Result // entries with a result
	space   [MaxBatch]Result
	named   [MaxBatch]uint8
	unknown bool // the answer names an Id that was not sent, so it belongs to another request
}

// NewAnswer returns the answer to a request with this number of entries, before any is named.
func NewAnswer(request RequestID, entries int) *Answer {
	a := &Answer{request: request}
	a.results = a.space[:entries]
	return a
}

// Position returns the position in the batch of the message that was sent as id, or -1 if none was.
func (a *Answer) Position(id string) int { return a.position([]byte(id)) }

func (a *Answer) position(id []byte) int {
	i := a.request.position(id)
	if i < 0 || i >= len(a.results) {
		return -1
	}
	return i
}

// Set stores the outcome of the entry id; a nil err means accepted.
func (a *Answer) Set(id string, err error) {
	i := a.Position(id)
	if i < 0 {
		a.unknown = true
		return
	}
	a.results[i].Err = err
	a.named[i]++
}

// Accept stores that the entry id is accepted, under this name. It makes no copy of id.
func (a *Answer) Accept(id []byte, message MessageID) {
	i := a.position(id)
	if i < 0 {
		a.unknown = true
		return
	}
	a.results[i].Err, a.results[i].MessageID = nil, message
	a.named[i]++
}

// Named stores the name that the broker gives to the message of the entry id.
func (a *Answer) Named(id string, message MessageID) {
	if i := a.Position(id); i >= 0 {
		a.results[i].MessageID = message
	}
}

// Results returns a result for each entry, in the order of the request. An answer with an entry
// that was not sent is an error of the whole request.
func (a *Answer) Results() ([]Result, error) {
	if a.unknown {
		return nil, &Error{
			Origin: OriginTransport,
			Code:   CodeUnknownEntry,
			Reason: "the answer names an entry that was not sent: it belongs to another request",
		}
	}
	for i := range a.results {
		if n := a.named[i]; n != 1 {
			a.results[i].Err = EntryError("UnknownOutcome", fmt.Sprintf("the answer names the entry %d times", n))
		}
	}
	return a.results, nil
}

// CodeUnknownEntry is the code of an answer that belongs to another request. The idle connections
// may be out of step with their requests, so none of them is reused.
const CodeUnknownEntry = "UnknownEntry"
