package pgoutput

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
)

// postgresEpoch is 2000-01-01 UTC in microseconds since the Unix epoch. Postgres counts time from
// there.
const postgresEpoch = 946_684_800_000_000

// reader reads the fields of a message. After a read past the end it keeps the error and returns
// zeros. So one check at the end of a message, or of each iteration of a loop, is enough.
type reader struct {
	data []byte
	next int // offset of the next unread byte
	err  error
}

// skip returns the offset of the next n bytes and advances past them.
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

// text advances past a whole value in text format, the format of nearly all values, or does not
// advance.
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

// cString reads up to the terminating zero. The result aliases the message.
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

// end returns the first error, or an error if the message has unread bytes.
func (r *reader) end() error {
	if left := len(r.data) - r.next; r.err == nil && left > 0 {
		r.err = fmt.Errorf("%d bytes follow the end of the message", left)
	}
	return r.err
}
