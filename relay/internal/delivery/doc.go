// Package delivery decides which events are sent when: message groups, batches, requests in flight,
// retries, and parking.
//
// # From an event to its outcome
//
//	Send ──► sender of its destination ──► scheduler: group ──► batch ──► sink: one request
//	                                            ▲                               │
//	                                            └── failed: to the front ◄──────┤ one result
//	                                                of its group                │ for each event
//	                     Tracker.Delivered ◄── delivered, or parked ◄───────────┘
//
// A destination has one sender, and the sender has one scheduler. The scheduler is a state machine
// without clock, lock or goroutine, so that a test can drive it through every order of events. The
// sender adds the lock, the timer, and one goroutine for each request in flight. Before each
// attempt it asks the lease whether this relay may still publish.
//
// # Order
//
// A group has one request in flight at most. Events that were not delivered return to its front,
// so no event of a group overtakes another. Other groups continue.
//
//	group      meaning                               leaves it when
//	-----      -------                               --------------
//	ready      its first event can be sent           a batch takes events of it
//	in flight  a request has events of it            the request ends: ready, waiting if an event
//	                                                 failed, or gone if it is empty
//	waiting    backoff after a failure               the backoff ends: ready
//	held       its events may be deferred            it is released: ready, or gone if it is empty
//
// # The outcome of an event
//
//	result                                    what follows
//	------                                    ------------
//	accepted                                  delivered
//	throttled                                 sent again at the rate that the pacer finds, without
//	                                          backoff: the destination has a limit, no fault
//	failed: network, service, credentials     sent again after a backoff, without a last attempt
//	request refused as a whole                its halves are sent, until one event is alone
//	refused, for the first time               sent again: the refusal may be the service's fault
//	refused, and proven                       parked by the policy, or the relay halts
//	accepted with an altered body             sent again, and parked after three attempts
//	never valid                               parked without being sent
//	behind a parked event of its group        waits until package deferral withdraws it, or is
//	                                          parked if the table cannot keep it
//	redriven, and its redrive was canceled    not sent; its dead letter stays
//	dropped by a route                        done without being sent; it has no group
//
// A refusal is proven if the destination refuses the event again, 3 s later or more (Backoff.Max if
// that is less), and works otherwise: it has accepted another event, of the request that it refused
// first or of one that began later. A refusal is also proven if the destination accepts nothing for
// five times as long, while only this event and at most four others that it has refused are sent to
// it. To park is to store a dead letter. The event counts as delivered only once the dead letter is
// stored.
//
// # An unavailable destination
//
// After a request of which nothing was accepted, one request at a time probes the destination, with
// a backoff between the attempts. The first accepted event ends that. After Options.ParkAfter
// without an accepted event, package deferral withdraws the waiting events, and their rows wait in
// the outbox table. From then on the first rows of its pass are the probe. If the table cannot keep
// them, they are parked. Either way they do not hold back the other destinations. Time in which the
// credentials fail does not count: it says nothing about the destination.
package delivery
