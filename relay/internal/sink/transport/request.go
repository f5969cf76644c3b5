package transport

import (
	"bytes"
	"io"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
)

// Request is the text of one request, in reused memory.
type Request struct {
	Text []byte // room for the head, then the body; append to it until it is sent

	// users counts the goroutine that fills and posts the request and the writers of net/http, one
	// of which may still run when the answer is there. If a writer never reports its end, the
	// garbage collector frees the memory.
	users atomic.Int32
}

const (
	// headRoom is reserved in front of each body, so that head and body are written at once without
	// a copy of the body. It holds a head with a session token of the usual length, of one or two
	// KB.
	headRoom = 4 << 10
	// usualText holds head and body of a request to SQS. A request to SNS is twice as long and
	// grows beyond it.
	usualText = headRoom + 8<<10
	// maxKept is the capacity above which memory is not reused: ten events of the usual size need a
	// tenth of it.
	maxKept = 256 << 10
)

var requests = sync.Pool{New: func() any { return &Request{Text: make([]byte, headRoom, usualText)} }}

// NewRequest returns an empty Request for [Caller.Post].
func NewRequest() *Request {
	r := requests.Get().(*Request)
	r.Text = r.Text[:headRoom]
	r.users.Store(1)
	return r
}

// release makes r available again. The caller does not touch it any more.
func (r *Request) release() {
	if r.users.Add(-1) == 0 && cap(r.Text) <= maxKept {
		requests.Put(r)
	}
}

// body returns the appended bytes.
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

// open returns a reader of the body for one writer. net/http knows by its type that it is in
// memory, so headers and body leave in one packet.
func (r *Request) open() (io.ReadCloser, error) {
	r.users.Add(1)
	return io.NopCloser(bytes.NewReader(r.body())), nil
}

func (r *Request) wrote(httptrace.WroteRequestInfo) { r.release() }
