// Package transport carries the requests of all sinks: many in flight to one host over reused
// connections, each signed, and bounded in time and in the size of its answer.
//
// # Two ways
//
//	Caller ──► pool ──► connection          direct: no proxy, and the SDK's kind of HTTP client
//	   │
//	   └─────► Client ──► net/http          through a proxy, or with another HTTP client
//	             ▲
//	           AWS SDK                      every other call, and RELAY_AWS_CLIENT=sdk
//
// Both ways pass the same tests. Neither retries: delivery asks the lease before each attempt
// whether this relay may still publish.
//
// # The life of a connection
//
//	state     event                                          next
//	-----     -----                                          ----
//	none      request, and no connection is idle             dialled
//	idle      request: it is probed, and the one that        in use; closed if the peer has closed
//	          served last is used first                      it or has sent bytes unasked
//	in use    a whole answer, and nothing behind it          idle
//	in use    timeout, end of the context, broken answer,    closed
//	          bytes behind the answer
//	idle      another request timed out that began after     closed: a network that is cut without
//	          the last answer of this one                    a reset has cut it too
//	idle      a reused connection was closed by its peer     closed: the next request dials
//	idle      90 seconds without a request                   closed
//
// If the relay took an answer to another request for its own, it would count an undelivered event
// as delivered. The rules above leave no byte of one request to the next. The sinks also give the
// entries of each request ids of its own, and an answer with another id closes every idle
// connection.
//
// # Who failed a request
//
// An error has its [sink.Origin] from where it arises, and no text is searched for it:
//
//	origin       example                                    says of the event
//	------       -------                                    -----------------
//	transport    refused connection, timeout, answer of a   nothing
//	             proxy without an error code of the service
//	credentials  no role, expired token                     nothing: the request was not sent
//	request      an error code of the service, or HTTP 413  it may be at fault, like its batch
//	entry        the entry of a failed message              it is at fault, or throttled
package transport
