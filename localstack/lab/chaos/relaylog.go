package chaos

import (
	"bytes"
	"math"
	"strings"
	"sync"
	"time"
)

// relayLog records the log lines of one relay with their times.
type relayLog struct {
	clock func() time.Duration

	mu        sync.Mutex
	lines     []logLine
	rest      []byte // an incomplete line
	streaming bool   // according to the last line about it
}

type logLine struct {
	At   time.Duration
	Text string
}

// Write implements io.Writer.
func (b *relayLog) Write(p []byte) (int, error) {
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

func (b *relayLog) add(text string) {
	b.lines = append(b.lines, logLine{b.clock(), text})
	switch {
	case saysStreaming(text):
		b.streaming = true
	// After a recovery beside a slot that was kept, another relay may get the slot.
	case strings.Contains(text, "event=session_ended"), strings.Contains(text, "event=standby"),
		strings.Contains(text, "event=recovered"):
		b.streaming = false
	}
}

// isStreaming reports whether the last state in the log is streaming or recovering.
func (b *relayLog) isStreaming() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.streaming
}

// find returns the first line since a time that contains text.
func (b *relayLog) find(text string, since time.Duration) (logLine, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.lines {
		if line.At >= since && strings.Contains(line.Text, text) {
			return line, true
		}
	}
	return logLine{}, false
}

// lastError returns the error with which the process ended, or nothing. The program prints it after
// all lines of the log, and an error may have several lines.
func (b *relayLog) lastError() string {
	lines := b.copy()
	var text []string
	for i := len(lines) - 1; i >= 0; i-- {
		text = append([]string{lines[i].Text}, text...)
		if strings.HasPrefix(lines[i].Text, "relay: ") {
			return strings.Join(text, "\n")
		}
		if strings.HasPrefix(lines[i].Text, "time=") {
			break
		}
	}
	return ""
}

func (b *relayLog) copy() []logLine {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]logLine(nil), b.lines...)
}

func saysStreaming(text string) bool {
	return strings.Contains(text, "event=streaming") || strings.Contains(text, "event=recovering")
}

// streamedBefore returns the last time until then at which the log says that the relay streams, or
// zero.
func (b *relayLog) streamedBefore(until time.Duration) (last time.Duration) {
	for _, line := range b.copy() {
		if line.At <= until && saysStreaming(line.Text) {
			last = line.At
		}
	}
	return last
}

// streamedAfter returns the next time at which the log says that the relay streams, or the maximum
// duration.
func (b *relayLog) streamedAfter(since time.Duration) time.Duration {
	for _, line := range b.copy() {
		if line.At >= since && saysStreaming(line.Text) {
			return line.At
		}
	}
	return math.MaxInt64
}
