package ingest

import (
	"github.com/jackc/pglogrepl"
)

// Begin lets the stream be read. With InPlace, the server first restarts the stream, and
// [Handler.Restarted] reports that.
func (h *Handler) Begin() {
	close(h.wanted)
	if !h.InPlace {
		close(h.begun)
	}
}

// Wanted returns a channel that is closed once the stream should be read.
func (h *Handler) Wanted() <-chan struct{} { return h.wanted }

// Restarted lets the restarted stream be read.
func (h *Handler) Restarted() { close(h.begun) }

// Begun returns a channel that is closed once the stream may be read.
func (h *Handler) Begun() <-chan struct{} { return h.begun }

// ReadUntil lets the stream be read up to a position, and then closes [Handler.Reached].
func (h *Handler) ReadUntil(until pglogrepl.LSN) {
	h.until = until
	h.Begin()
}

// Until returns the position of [Handler.ReadUntil], or zero.
func (h *Handler) Until() pglogrepl.LSN { return h.until }

// Reached returns a channel that is closed once the stream was read up to [Handler.Until].
func (h *Handler) Reached() <-chan struct{} { return h.reached }

// Stop ends reading for good.
func (h *Handler) Stop() { h.stopped.Store(true) }

// isBehind reports whether a commit at lsn is behind the part to read.
func (h *Handler) isBehind(lsn pglogrepl.LSN) bool { return h.until != 0 && lsn >= h.until }

// Reach ends reading, after every transaction that commits before until was read.
func (h *Handler) Reach() {
	if h.stopped.Swap(true) {
		return
	}
	h.Tracker.Reached(h.until)
	close(h.reached)
}
