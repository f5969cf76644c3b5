// Package largemessage bounds the memory for messages of many MB that the connections of a session
// receive: one connection at a time has the buffer of such a message.
package largemessage

import (
	"runtime"
	"time"
)

// Length is the length from which a message counts as large, in bytes.
const Length = 4 << 20

// Turns gives one connection at a time the turn to receive a large message. If it is nil, each
// connection receives at once.
type Turns struct{ turn chan struct{} }

// New returns the Turns of a session.
func New() *Turns { return &Turns{turn: make(chan struct{}, 1)} }

// Take waits for the turn, and frees the memory of earlier messages: the runtime would allocate the
// next buffer before it has collected them. The connection calls done once the buffer of its
// message is free. After patience the connection receives beside the others, because a server that
// stops in the middle of a message must not stop all of them.
func (t *Turns) Take(patience time.Duration) (done func()) {
	if t == nil {
		return func() {}
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	defer runtime.GC()
	select {
	case t.turn <- struct{}{}:
		return func() { <-t.turn }
	case <-timer.C:
		return func() {}
	}
}

// FreeBuffers frees the buffers that connections have returned to the pool of pgproto3. Two
// collections empty a [sync.Pool].
func FreeBuffers() {
	runtime.GC()
	runtime.GC()
}
