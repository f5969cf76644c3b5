package fakeaws

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Page is an answer of a proxy or a load balancer in place of the service's.
type Page struct {
	Status int
	Header http.Header // beside Content-Type: text/html; may be nil
	Body   string
}

// HTML returns the page that a proxy shows for a status.
func HTML(status int) Page {
	text := fmt.Sprintf("%d %s", status, http.StatusText(status))
	return Page{Status: status, Body: "<html>\r\n<head><title>" + text + "</title></head>\r\n<body>\r\n<center><h1>" +
		text +
		"</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"}
}

func (p Page) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html")
	for name, values := range p.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(p.Status)
	_, _ = io.WriteString(w, p.Body) // fails only if the client has disconnected
}

// ShowPage answers each request with the next of the pages, and the service does not get the
// request. The first page follows the last one.
func ShowPage(pages ...Page) Fault {
	var requests atomic.Uint64
	return Fault{before: func(_ context.Context, x exchange) bool {
		pages[(requests.Add(1)-1)%uint64(len(pages))].write(x.w)
		return true
	}}
}

// ShowPageAfterAccept performs the request and answers with p, as a proxy does that gives up on the
// service's answer.
func ShowPageAfterAccept(p Page) Fault {
	return Fault{after: func(_ context.Context, x exchange, _ answer) bool {
		p.write(x.w)
		return true
	}}
}

// LimitBody answers requests with a body above n bytes with the page of status 413, and counts
// them. Smaller ones pass.
func LimitBody(n int, refused *atomic.Int64) Fault {
	page := HTML(http.StatusRequestEntityTooLarge)
	return Fault{before: func(_ context.Context, x exchange) bool {
		if x.size <= n {
			return false
		}
		refused.Add(1)
		page.write(x.w)
		return true
	}}
}

// drainTime is how long a careful proxy reads on after an early answer, so that the client can read
// it.
const drainTime = 100 * time.Millisecond

// AnswerEarly answers with p after n bytes of the request's body, and closes the connection. A
// careful proxy reads the rest of the request for a moment first. One that is not careful resets
// the connection, so that the client may never see the answer. Which destination a request is for
// is not known so early: the rule concerns those of every destination.
func AnswerEarly(n int64, p Page, careful bool) Fault {
	return Fault{early: func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, n)
		connection, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer connection.Close()
		fmt.Fprintf(connection, "HTTP/1.1 %d %s\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: "+
			"close\r\n\r\n%s",
			p.Status, http.StatusText(p.Status), len(p.Body), p.Body)
		tcp, ok := connection.(*net.TCPConn)
		if !ok || !careful {
			return
		}
		_ = tcp.CloseWrite()
		_ = tcp.SetReadDeadline(time.Now().Add(drainTime))
		_, _ = io.Copy(io.Discard, buffered)
	}}
}

// CacheAnswers performs a request, and answers those that follow to the same service with its
// answer, without performing them: a proxy that takes all requests with one URL for the same.
func CacheAnswers() Fault {
	var mu sync.Mutex
	cached := map[service]*answer{}
	return Fault{
		before: func(_ context.Context, x exchange) bool {
			mu.Lock()
			a := cached[x.service]
			mu.Unlock()
			if a == nil {
				return false
			}
			x.server.write(x.w, x.service, *a)
			return true
		},
		after: func(_ context.Context, x exchange, a answer) bool {
			mu.Lock()
			defer mu.Unlock()
			if a.status == http.StatusOK {
				cached[x.service] = &a
			}
			return false
		},
	}
}

// swapTime is how long an answer waits for another one to be swapped with.
const swapTime = 50 * time.Millisecond

// swap is an answer that waits for another one.
type swap struct {
	answer answer
	other  chan answer
}

// SwapAnswers performs requests and answers two of them, which are under way to the same service at
// once, with each other's answer. A request that is alone gets its own.
func SwapAnswers() Fault {
	meeting := map[service]chan swap{ofSNS: make(chan swap), ofSQS: make(chan swap), ofEvents: make(chan swap)}
	return Fault{after: func(ctx context.Context, x exchange, a answer) bool {
		own := swap{a, make(chan answer, 1)}
		timer := time.NewTimer(swapTime)
		defer timer.Stop()
		select {
		case meeting[x.service] <- own:
			a = <-own.other // comes at once: its room is there
		case met := <-meeting[x.service]:
			met.other <- a
			a = met.answer
		case <-timer.C:
		case <-ctx.Done():
			return x.reset()
		}
		x.server.write(x.w, x.service, a)
		return true
	}}
}

// CutHead performs the request, and closes the connection after n bytes of the head of its answer.
func CutHead(n int) Fault {
	return Fault{after: func(_ context.Context, x exchange, a answer) bool {
		head := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nx-amzn-RequestId: %s\r\n",
			a.status, http.StatusText(a.status), jsonType, len(a.body), x.server.identify.uuid())
		connection, _, err := http.NewResponseController(x.w).Hijack()
		if err != nil {
			return true
		}
		_, _ = io.WriteString(connection, head[:min(n, len(head))])
		_ = connection.Close()
		return true
	}}
}
