package chaos

import (
	"bytes"
	"math"
	"strings"
	"sync"
	"time"
)

// logbook keeps the log of one relay, and when each line came.
type logbook struct {
	clock func() time.Duration

	mu        sync.Mutex
	lines     []logLine
	rest      []byte // of a line that is not complete
	streaming bool   // as its last line about it says
}

type logLine struct {
	At   time.Duration
	Text string
}

// Write implements io.Writer.
func (b *logbook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rest = append(b.rest, p...)
	for {
		end := bytes.IndexByte(b.rest, '\n')
		if end < 0 {
			return len(p), nil
		}
		b.add(string(b.rest[:end]))
		b.rest = b.rest[end+1:]
	}
}

func (b *logbook) add(text string) {
	b.lines = append(b.lines, logLine{b.clock(), text})
	switch {
	case saysStreaming(text):
		b.streaming = true
	case strings.Contains(text, "event=session_ended"), strings.Contains(text, "event=standby"):
		b.streaming = false
	}
}

// isStreaming reports whether the relay said last that it streams, or recovers.
func (b *logbook) isStreaming() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.streaming
}

// find returns the first line since a time that holds text.
func (b *logbook) find(text string, since time.Duration) (logLine, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.lines {
		if line.At >= since && strings.Contains(line.Text, text) {
			return line, true
		}
	}
	return logLine{}, false
}

func (b *logbook) copy() []logLine {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]logLine(nil), b.lines...)
}

func saysStreaming(text string) bool {
	return strings.Contains(text, "event=streaming") || strings.Contains(text, "event=recovering")
}

// streamedAfter returns when the relay next said that it streams, or the end of days.
func (b *logbook) streamedAfter(since time.Duration) time.Duration {
	for _, line := range b.copy() {
		if line.At >= since && saysStreaming(line.Text) {
			return line.At
		}
	}
	return math.MaxInt64
}
