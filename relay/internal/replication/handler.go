package replication

import (
	"time"

	"github.com/jackc/pglogrepl"
)

// Handler receives the stream. The goroutine in [Stream.Run] calls its methods, and they must not
// block.
type Handler interface {
	// Ready reports whether the stream may continue to read. While it may not, the stream still
	// answers the server.
	Ready() bool
	// Wake fires when Ready may have become true.
	Wake() <-chan struct{}
	// Flush is called before the stream waits for the server or for Ready. The handler hands on all
	// events that it has received.
	Flush()
	// WALData receives one message of the output plugin, and the time at which the server sent it
	// by the server's clock. data is valid only during the call.
	WALData(sentAt time.Time, data []byte) error
	// Gather returns how long the stream may wait for a large piece before it reads. It is zero
	// while events arrive one by one.
	Gather() time.Duration
	// Keepalive receives the ServerWALEnd of a keepalive.
	Keepalive(serverWALEnd pglogrepl.LSN)
}
