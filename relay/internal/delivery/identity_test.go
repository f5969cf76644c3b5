package delivery_test

import (
	"errors"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

var errNoCredentials = &sink.Error{Origin: sink.OriginCredentials, Err: errors.New("credentials: STS is unavailable")}

// TestFailingCredentialsParkNothing: credentials fail for every destination, so parking events
// frees none.
func TestFailingCredentialsParkNothing(t *testing.T) {
	t.Parallel()
	parkAfter := func(r *fixture, _ []delivery.Destination) { r.options.ParkAfter = 10 * time.Second }
	for name, failure := range map[string]error{
		"none to be had": errNoCredentials, "expired": sink.RequestError(403, "ExpiredToken", "expired", nil),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, one(fifo), func(r *fixture) {
				r.sinks[0].answers(failAll(failure))
				r.sendIDs(0, "a1 a2 b1")
				r.elapse(time.Hour)
				r.expectParked("")
				r.sinks[0].answers(takeAll)
				r.elapse(time.Minute)
				r.expectTaken(0, "a1 b1 a2")
				r.expectOpen(0)
			}, parkAfter)
		})
	}
}

// TestParkAfterCountsFromTheLastIdentityError: until then the relay could not know whether the
// destination is available.
func TestParkAfterCountsFromTheLastIdentityError(t *testing.T) {
	t.Parallel()
	parkAfter := func(r *fixture, _ []delivery.Destination) { r.options.ParkAfter = 5 * time.Minute }
	run(t, one(fifo), func(r *fixture) {
		r.sinks[0].answers(failAll(errUnavailable))
		r.sendIDs(0, "a1 b1")
		r.elapse(4 * time.Minute)
		r.sinks[0].answers(failAll(errNoCredentials))
		r.elapse(10 * time.Minute)
		r.sinks[0].answers(failAll(errUnavailable))
		r.elapse(4 * time.Minute)
		r.expectParked("")
		r.elapse(3 * time.Minute)
		r.expectParked("a1 b1")
	}, parkAfter)
}
