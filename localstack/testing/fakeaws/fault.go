package fakeaws

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strings"
	"time"
)

// Fault is a fault of a request. See [Server.Script].
type Fault struct {
	early   func(http.ResponseWriter, *http.Request)             // ends the request before it is read
	before  func(context.Context, exchange) (ended bool)         // before the request is performed
	failure *apiError                                            // of entries, which are not accepted then
	edit    func(result) []result                                // changes the result of an entry in the answer
	after   func(context.Context, exchange, answer) (ended bool) // after it was performed, before the answer
}

// Refuse answers with an error and accepts nothing. A status of 500 or above is a fault of the
// service.
func Refuse(status int, code, message string) Fault {
	return refuse(func(service) *apiError {
		return &apiError{status: status, code: code, shape: code, message: message, receiver: status >= 500}
	})
}

func refuse(reason func(service) *apiError) Fault {
	return Fault{before: func(_ context.Context, x exchange) bool {
		x.server.write(x.w, x.service, x.server.failed(x.service, reason(x.service)))
		return true
	}}
}

// Throttle answers that the request rate is too high.
func Throttle() Fault { return Refuse(http.StatusBadRequest, "ThrottlingException", "Rate exceeded") }

// ThrottleKMS answers that the request rate of the encryption key is too high.
func ThrottleKMS() Fault {
	const message = "The request was denied due to request throttling by AWS KMS."
	return refuse(func(of service) *apiError {
		switch of {
		case ofSQS:
			return sqsError("KmsThrottled", message)
		case ofEvents:
			return eventsError("ThrottlingException", message)
		}
		return snsError("KMSThrottling", message)
	})
}

// DenyAccess answers that the caller lacks the permission for the action.
func DenyAccess() Fault {
	return refuse(func(of service) *apiError {
		e := &apiError{
			status: http.StatusForbidden, code: "AuthorizationError", shape: "AccessDeniedException",
			message: "The caller is not authorized to perform the action",
		}
		if of == ofSQS {
			e.code = "AccessDenied"
		}
		return e
	})
}

// Missing answers that the topic, queue or event bus does not exist.
func Missing() Fault {
	return refuse(func(of service) *apiError {
		switch of {
		case ofSQS:
			return sqsError("QueueDoesNotExist", "The specified queue does not exist.")
		case ofEvents:
			return eventsError("ResourceNotFoundException", "Event bus does not exist.")
		}
		return snsError("NotFound", "Topic does not exist")
	})
}

// Unavailable answers with status 503.
func Unavailable() Fault {
	return Refuse(http.StatusServiceUnavailable, "ServiceUnavailable", "The service is unavailable")
}

// FailEntries rejects the matching entries in an answer with status 200.
func FailEntries(code, message string, senderFault bool) Fault {
	return Fault{failure: &apiError{
		status: http.StatusBadRequest, code: code, shape: code, message: message, receiver: !senderFault,
	}}
}

// Delay waits before the request is performed.
func Delay(d time.Duration) Fault {
	return Fault{before: func(ctx context.Context, x exchange) bool {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return false
		case <-ctx.Done():
			return x.reset()
		}
	}}
}

// Hang blocks the request before it is performed, until the client gives up.
func Hang() Fault {
	return Fault{before: func(ctx context.Context, x exchange) bool {
		<-ctx.Done()
		return x.reset()
	}}
}

// HangAfterAccept performs the request and then blocks, until the client gives up.
func HangAfterAccept() Fault {
	return Fault{after: func(ctx context.Context, x exchange, _ answer) bool {
		<-ctx.Done()
		return x.reset()
	}}
}

// Reset closes the connection before the request is performed.
func Reset() Fault {
	return Fault{before: func(_ context.Context, x exchange) bool { return x.reset() }}
}

// LoseAnswer performs the request and closes the connection instead of answering.
func LoseAnswer() Fault {
	return Fault{after: func(_ context.Context, x exchange, _ answer) bool { return x.reset() }}
}

// BreakAnswer performs the request, and closes the connection after n bytes of the answer's body.
func BreakAnswer(n int) Fault {
	return Fault{after: func(_ context.Context, x exchange, a answer) bool {
		x.server.head(x.w, x.service, a)
		_, _ = x.w.Write(a.body[:min(n, len(a.body))])
		_ = http.NewResponseController(x.w).Flush()
		return x.reset()
	}}
}

// TruncateAnswer performs the request and answers with only the first n bytes of the body, as a
// complete body.
func TruncateAnswer(n int) Fault {
	return Fault{after: func(_ context.Context, x exchange, a answer) bool {
		a.body = a.body[:min(n, len(a.body))]
		x.server.write(x.w, x.service, a)
		return true
	}}
}

// EndlessAnswer performs the request and answers with an endless stream of white space.
func EndlessAnswer() Fault {
	return Fault{after: func(_ context.Context, x exchange, _ answer) bool {
		space := bytes.Repeat([]byte{' '}, 16<<10)
		for {
			if _, err := x.w.Write(space); err != nil {
				return true
			}
		}
	}}
}

// WrongMD5 accepts the matching entries and answers with the checksum of another body. It applies
// only to queues, because SNS sends no checksum.
func WrongMD5() Fault {
	return Fault{edit: func(r result) []result {
		r.bodyMD5 = strings.Repeat("0", 32)
		return []result{r}
	}}
}

// OmitMD5 accepts the matching entries and answers without their checksum, as some brokers that are
// not AWS do.
func OmitMD5() Fault {
	return Fault{edit: func(r result) []result {
		r.bodyMD5 = ""
		return []result{r}
	}}
}

// OmitEntries omits the matching entries from the answer, whether they are accepted or not.
func OmitEntries() Fault {
	return Fault{edit: func(result) []result { return nil }}
}

// RepeatEntries lists the matching entries twice in the answer.
func RepeatEntries() Fault {
	return Fault{edit: func(r result) []result { return []result{r, r} }}
}

// RenameEntries replaces the ids of the matching entries in the answer by ids that were not sent.
// It does not apply to EventBridge, whose entries have none.
func RenameEntries() Fault {
	return Fault{edit: func(r result) []result {
		r.id += "-unknown"
		return []result{r}
	}}
}

// reset closes the connection with a reset.
func (x exchange) reset() (ended bool) {
	connection, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return true
	}
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = connection.Close()
	return true
}
