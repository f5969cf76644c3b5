package compare

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxLine bounds a line, in bytes: an id and a group of any length that a message can carry.
const maxLine = 1 << 20

// List has the events that one publisher delivered, each once, in the order of its first delivery.
type List struct {
	deliveries []delivery
	at         map[string]int // the index of each event
	repeated   int
}

type delivery struct{ id, group string }

// Read reads a list: one delivery a line, in order. A line is an event id, and then, after a tab,
// the group of events that keep their order, if there is one. Empty lines are skipped. An
// error names the line.
func Read(r io.Reader) (*List, error) {
	l := &List{at: map[string]int{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	number := 0
	for lines.Scan() {
		number++
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		if err := l.add(strings.TrimRight(lines.Text(), "\r")); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("after line %d: %w", number, err)
	}
	return l, nil
}

func (l *List) add(line string) error {
	id, group, _ := strings.Cut(line, "\t")
	switch {
	case id == "":
		return errors.New("it begins with a tab: write the event id first")
	case strings.Contains(group, "\t"):
		return errors.New("it has more than two columns: write the event id, a tab and the group")
	}
	if l.has(id) {
		l.repeated++
		return nil
	}
	l.at[id] = len(l.deliveries)
	l.deliveries = append(l.deliveries, delivery{id, group})
	return nil
}

func (l *List) has(id string) bool {
	_, ok := l.at[id]
	return ok
}
