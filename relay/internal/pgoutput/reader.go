package pgoutput

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
)

// postgresEpoch is 2000-01-01 UTC in microseconds of the Unix epoch; Postgres counts time from there.
const postgresEpoch = 946_684_800_000_000

// reader takes a message apart. After the first read past the end it keeps the error and returns zeros, so that one
// check at the end of a message, or of each turn of a loop, is enough.
type reader struct {
	data []byte
	next int // offset of the byte to be read next
	err  error
}

// skip returns the offset of the next n bytes and steps over them.
func (r *reader) skip(n int) (offset int, ok bool) {
	if r.err != nil {
		return 0, false
	}
	if left := len(r.data) - r.next; n < 0 || n > left {
		r.err = fmt.Errorf("%d bytes expected, %d left", n, left)
		return 0, false
	}
	offset = r.next
	r.next += n
	return offset, true
}

// text steps over a whole value in text format, as nearly all values are, or over nothing.
func (r *reader) text() (value span, ok bool) {
	if r.err != nil || len(r.data)-r.next < 5 || r.data[r.next] != 't' {
		return span{}, false
	}
	start := r.next + 5
	length := int(binary.BigEndian.Uint32(r.data[start-4:]))
	if length > len(r.data)-start {
		return span{}, false
	}
	r.next = start + length
	return span{start, r.next}, true
}

func (r *reader) uint8() uint8 {
	if at, ok := r.skip(1); ok {
		return r.data[at]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if at, ok := r.skip(2); ok {
		return binary.BigEndian.Uint16(r.data[at:])
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if at, ok := r.skip(4); ok {
		return binary.BigEndian.Uint32(r.data[at:])
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if at, ok := r.skip(8); ok {
		return binary.BigEndian.Uint64(r.data[at:])
	}
	return 0
}

func (r *reader) lsn() pglogrepl.LSN { return pglogrepl.LSN(r.uint64()) }

func (r *reader) time() time.Time { return time.UnixMicro(postgresEpoch + int64(r.uint64())).UTC() }

// cString reads up to the terminating zero. The result points into the message.
func (r *reader) cString() []byte {
	if r.err != nil {
		return nil
	}
	n := bytes.IndexByte(r.data[r.next:], 0)
	if n < 0 {
		r.err = fmt.Errorf("string without an end")
		return nil
	}
	text := r.data[r.next : r.next+n]
	r.next += n + 1
	return text
}

// end returns the first error, or one if the message goes on after what was read of it.
func (r *reader) end() error {
	if left := len(r.data) - r.next; r.err == nil && left > 0 {
		r.err = fmt.Errorf("%d bytes follow the end of the message", left)
	}
	return r.err
}
