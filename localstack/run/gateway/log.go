package gateway

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// lineLog writes the lines of several writers to one, each with the name of its writer.
type lineLog struct {
	mu  sync.Mutex
	out io.Writer
}

func newLineLog(out io.Writer) *lineLog { return &lineLog{out: out} }

func (l *lineLog) named(name string) *namedLog { return &namedLog{log: l, name: name} }

// namedLog is one writer of a [lineLog].
type namedLog struct {
	log     *lineLog
	name    string
	mu      sync.Mutex
	partial []byte
}

func (n *namedLog) Write(text []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.partial = append(n.partial, text...)
	for {
		line, rest, found := bytes.Cut(n.partial, []byte("\n"))
		if !found {
			return len(text), nil
		}
		n.log.mu.Lock()
		_, err := fmt.Fprintf(n.log.out, "%s | %s\n", n.name, line)
		n.log.mu.Unlock()
		n.partial = bytes.Clone(rest)
		if err != nil {
			return len(text), fmt.Errorf("write the log: %w", err)
		}
	}
}

func (n *namedLog) printf(format string, args ...any) { fmt.Fprintf(n, format+"\n", args...) }

// tail keeps the end of its input. It is read only after the last write.
type tail struct {
	text []byte
}

const maxTail = 2 << 10

func (t *tail) Write(text []byte) (int, error) {
	t.text = append(t.text, text...)
	t.text = t.text[max(0, len(t.text)-maxTail):]
	return len(text), nil
}

func (t *tail) String() string { return string(bytes.TrimSpace(t.text)) }
