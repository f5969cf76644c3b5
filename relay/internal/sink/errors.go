package sink

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// Origin says who failed a request. It is set where the failure arises and never guessed from the
// error, because the words of the credentials service must not count as a refusal of the messages.
type Origin string

// The origins. Only a request's or an entry's own refusal can park an event.
const (
	OriginTransport   Origin = "transport"   // the network, or an answer that is not the service's
	OriginCredentials Origin = "credentials" // the credentials provider: the request was not sent
	OriginRequest     Origin = "request"     // the answer to this request
	// the result of one entry in the answer to this request
	OriginEntry Origin = "entry"
)

// Error is a transient failure: a retry may succeed.
type Error struct {
	Origin Origin
	Code   string // as the service names it, in its short form; empty: [Code] finds a label for Err
	Reason string // the service's words
	Status int    // of the answer, if it matters
	Err    error  // the complete error; may be nil
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	return e.Code + ": " + e.Reason
}

func (e *Error) Unwrap() error { return e.Err }

// RequestError returns err, with which an answer of this status fails a whole request. A dead
// letter keeps code and reason, and an answer may have any character.
func RequestError(status int, code, reason string, err error) *Error {
	return &Error{
		Origin: OriginRequest, Code: postgres.Storable(shortCode(code)), Reason: postgres.Storable(reason),
		Status: status, Err: err,
	}
}

// EntryError returns the failure of one entry that need not be the message's fault.
func EntryError(code, reason string) *Error {
	return &Error{Origin: OriginEntry, Code: postgres.Storable(shortCode(code)), Reason: postgres.Storable(reason)}
}

// ErrConnectionClosed is in the error of a Publish whose connection had served requests before and
// was closed before any byte was answered. Brokers close idle connections at any time, so this says
// nothing about the destination, and the next request is not affected. Whether the broker accepted
// the messages is unknown.
var ErrConnectionClosed = errors.New("a connection that was kept open had been closed")

// OnNewConnection returns ctx for the repetition of a request whose connection was closed. The
// other idle connections may be closed as well.
func OnNewConnection(ctx context.Context) context.Context {
	return context.WithValue(ctx, newConnection{}, true)
}

// NeedsNewConnection reports whether ctx is that of such a repetition.
func NeedsNewConnection(ctx context.Context) bool { return ctx.Value(newConnection{}) != nil }

type newConnection struct{}

// MixedUpError means that an answer is about another destination than the request, as a proxy that
// caches answers makes it. A retry may bring the right one.
type MixedUpError struct{ Destination, Answered string }

func (e *MixedUpError) Error() string {
	return fmt.Sprintf("the answer to a request about %s is about %s: a proxy in between confuses answers",
		e.Destination, e.Answered)
}

// CheckAnswer returns a [*MixedUpError] if an answer names another topic or queue than the
// destination. A broker that is not AWS may omit the ARN, or name another account or region.
func CheckAnswer(destination, answered string) error {
	if answered == "" || lastPart(destination) == lastPart(answered) {
		return nil
	}
	return &MixedUpError{destination, answered}
}

// lastPart returns the name of a topic or queue from its ARN or URL.
func lastPart(name string) string { return name[strings.LastIndexAny(name, ":/")+1:] }

// RejectedError means that the broker refuses a message, or a request because of its messages, and
// always will.
type RejectedError struct {
	Code   string // the broker's code, for example "InvalidMessageContents"
	Reason string // the broker's words, without any part of the payload
}

func (e *RejectedError) Error() string { return fmt.Sprintf("rejected: %s: %s", e.Code, e.Reason) }

// AlteredError means that the broker accepted a message with another body than the relay sent, as
// with a proxy that rewrites bodies. A retry succeeds after a transient fault. Each attempt may
// leave a copy at the broker.
type AlteredError struct{ Reason string }

// CodeChecksum is the code of an [*AlteredError].
const CodeChecksum = "ChecksumMismatch"

func (e *AlteredError) Error() string { return CodeChecksum + ": " + e.Reason }

// ClassifyRequest returns the outcome of a request that failed with err: a [*RejectedError] if the
// answer to this very request refuses it because of its messages, otherwise err itself. A request
// that is too large for the service, or for a proxy in front of it, is refused because of its
// messages too: a part of it may pass.
func ClassifyRequest(err error) error {
	failure, ok := errors.AsType[*Error](err)
	if !ok || failure.Origin != OriginRequest {
		return err
	}
	if refusals[failure.Code] || failure.Status == http.StatusRequestEntityTooLarge {
		return &RejectedError{Code: failure.Code, Reason: failure.Reason}
	}
	return err
}

// PassesInParts reports whether parts of a request that failed with err may pass. Either it was
// refused because of its messages, or a proxy finds it too large, head included (431). The head
// says nothing about the messages, so that status refuses no message.
func PassesInParts(err error) bool {
	if _, rejected := errors.AsType[*RejectedError](err); rejected {
		return true
	}
	failure, ok := errors.AsType[*Error](err)
	return ok && failure.Status == http.StatusRequestHeaderFieldsTooLarge
}

// ClassifyEntry returns the outcome of an entry that failed in an otherwise successful answer. The
// code alone decides: SenderFault is also true for throttling and missing permissions, and not
// always for a bad message.
func ClassifyEntry(code, reason string) error {
	failure := EntryError(code, reason)
	if refusals[failure.Code] {
		return &RejectedError{Code: failure.Code, Reason: failure.Reason}
	}
	return failure
}
