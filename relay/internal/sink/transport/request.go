package transport

import (
	"bytes"
	"io"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
)

// Request is the body of one request, in memory that is used again.
type Request struct {
	Body []byte // to append to, until it is sent

	// users are its owner and the writers of net/http, of which one can still be at work when the answer is there. A
	// writer that never tells of its end leaves the memory to the garbage collector.
	users atomic.Int32
}

// maxKept is the capacity above which a body is not used again: ten events of the usual size need a tenth of it.
const maxKept = 256 << 10

var requests = sync.Pool{New: func() any { return new(Request) }}

// NewRequest returns an empty Request. Its owner calls Release.
func NewRequest() *Request {
	r := requests.Get().(*Request)
	r.Body = r.Body[:0]
	r.users.Store(1)
	return r
}

// Release gives r back. Its owner does not touch it any more.
func (r *Request) Release() {
	if r.users.Add(-1) == 0 && cap(r.Body) <= maxKept {
		requests.Put(r)
	}
}

// open returns a reader of the body for one writer. It is of a type that net/http knows to be in memory, so that headers
// and body leave in one packet.
func (r *Request) open() (io.ReadCloser, error) {
	r.users.Add(1)
	return io.NopCloser(bytes.NewReader(r.Body)), nil
}

func (r *Request) wrote(httptrace.WroteRequestInfo) { r.Release() }
