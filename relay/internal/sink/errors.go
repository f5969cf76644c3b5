package sink

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Origin says who failed a request. It is set where the failure arises and never guessed from the error: the words of the
// service of credentials must not be taken for a refusal of the messages.
type Origin string

// The origins. Only a request's or an entry's own refusal can park an event.
const (
	OriginTransport   Origin = "transport"   // the network, or an answer that is not the service's
	OriginCredentials Origin = "credentials" // their provider: the request was not sent
	OriginRequest     Origin = "request"     // the answer to this request
	OriginEntry       Origin = "entry"       // what the answer to this request says about one entry
)

// Error is a failure that is worth another attempt.
type Error struct {
	Origin Origin
	Code   string // as the service names it, in its short form; empty: [Code] finds a label for Err
	Reason string // the service's words
	Status int    // of the answer, if it decides anything
	Err    error  // the whole of it; may be nil
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	return e.Code + ": " + e.Reason
}

func (e *Error) Unwrap() error { return e.Err }

// RequestError returns err, by which the answer with this status fails a whole request.
func RequestError(status int, code, reason string, err error) *Error {
	return &Error{Origin: OriginRequest, Code: shortCode(code), Reason: reason, Status: status, Err: err}
}

// EntryError returns what an answer says about one entry of its request, if that need not be the message's fault.
func EntryError(code, reason string) *Error {
	return &Error{Origin: OriginEntry, Code: shortCode(code), Reason: reason}
}

// ErrConnectionClosed is in the error of a Publish whose connection had served requests before and was closed before
// anything was answered. Brokers close connections whenever they like, so this says nothing about the destination, and
// the next request will not meet it. Whether the messages were accepted is unknown.
var ErrConnectionClosed = errors.New("a connection that was kept open had been closed")

// OnNewConnection returns ctx for the repetition of a request whose connection had been closed. The others that are kept may
// be closed as well.
func OnNewConnection(ctx context.Context) context.Context {
	return context.WithValue(ctx, newConnection{}, true)
}

// NeedsNewConnection reports whether ctx is that of such a repetition.
func NeedsNewConnection(ctx context.Context) bool { return ctx.Value(newConnection{}) != nil }

type newConnection struct{}

// RejectedError says that the broker refuses a message, or a request because of its messages, and always will.
type RejectedError struct {
	Code   string // as the broker names it, for example "InvalidMessageContents"
	Reason string // the broker's words, without any part of the payload
}

func (e *RejectedError) Error() string { return fmt.Sprintf("rejected: %s: %s", e.Code, e.Reason) }

// AlteredError says that the broker accepted a message with another body than was sent, as a proxy that rewrites bodies
// makes it. A fault of one moment is cured by another attempt; each attempt may leave a copy at the broker.
type AlteredError struct{ Reason string }

// CodeChecksum is the code of an [*AlteredError].
const CodeChecksum = "ChecksumMismatch"

func (e *AlteredError) Error() string { return CodeChecksum + ": " + e.Reason }

// ClassifyRequest returns the outcome of a request that failed with err: a [*RejectedError] when the answer to this very
// request refuses it for what is in its messages, else err itself. A request that is too large for the service, or for a
// proxy before it, is refused for what is in it too: a part of it may pass.
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

// PassesInParts reports whether parts of a request that failed with err may pass: it was refused for what is in it, or a
// proxy finds it too large, head included (431). The head says nothing of the messages, so that refuses no message.
func PassesInParts(err error) bool {
	if _, rejected := errors.AsType[*RejectedError](err); rejected {
		return true
	}
	failure, ok := errors.AsType[*Error](err)
	return ok && failure.Status == http.StatusRequestHeaderFieldsTooLarge
}

// ClassifyEntry returns the outcome of an entry that the broker listed as failed in an otherwise successful answer. The
// code alone decides: SenderFault is also true of throttling and missing rights, and not always of a bad message.
func ClassifyEntry(code, reason string) error {
	failure := EntryError(code, reason)
	if refusals[failure.Code] {
		return &RejectedError{Code: failure.Code, Reason: reason}
	}
	return failure
}
