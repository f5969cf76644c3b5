package transport

import (
	"bytes"
	"io"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
)

// Request is what one request sends, in memory that is used again.
type Request struct {
	Text []byte // room for the head, and the body: to append to, until it is sent

	// users are who fills and posts it and the writers of net/http, of which one can still be at work when the answer is
	// there. A writer that never tells of its end leaves the memory to the garbage collector.
	users atomic.Int32
}

const (
	// headRoom is in front of each body, so that head and body leave in one piece without a copy of the body. It holds a head with a
	// session token of the usual length, of one or two KB.
	headRoom = 4 << 10
	// usualText holds head and body of a request to SQS. One to SNS, which is twice as long, grows into more.
	usualText = headRoom + 8<<10
	// maxKept is the capacity above which memory is not used again: ten events of the usual size need a tenth of it.
	maxKept = 256 << 10
)

var requests = sync.Pool{New: func() any { return &Request{Text: make([]byte, headRoom, usualText)} }}

// NewRequest returns an empty Request, to be filled and handed to [Caller.Post].
func NewRequest() *Request {
	r := requests.Get().(*Request)
	r.Text = r.Text[:headRoom]
	r.users.Store(1)
	return r
}

// release gives r back, which its user does not touch any more.
func (r *Request) release() {
	if r.users.Add(-1) == 0 && cap(r.Text) <= maxKept {
		requests.Put(r)
	}
}

// body is what was appended.
func (r *Request) body() []byte { return r.Text[headRoom:] }

// after returns the body with head in front of it, or nil if there is no room for that.
func (r *Request) after(head []byte) []byte {
	begin := headRoom - len(head)
	if begin < 0 {
		return nil
	}
	copy(r.Text[begin:], head)
	return r.Text[begin:]
}

// open returns a reader of the body for one writer. It is of a type that net/http knows to be in memory, so that headers
// and body leave in one packet.
func (r *Request) open() (io.ReadCloser, error) {
	r.users.Add(1)
	return io.NopCloser(bytes.NewReader(r.body())), nil
}

func (r *Request) wrote(httptrace.WroteRequestInfo) { r.release() }
