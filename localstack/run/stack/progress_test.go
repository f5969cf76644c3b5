package stack

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestSilentStepIsRepeated(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := New(Settings{Out: &out, Began: time.Now().Add(-time.Minute)})
	s.silence = 50 * time.Millisecond
	err := s.During("building it (usually a minute)", func() error {
		deadline := time.Now().Add(10 * time.Second)
		for {
			s.progress.mu.Lock()
			text := out.String()
			s.progress.mu.Unlock()
			if strings.Count(text, "now: building it (usually a minute)") >= 2 || time.Now().After(deadline) {
				return nil
			}
			time.Sleep(time.Millisecond)
		}
	})
	if err != nil || strings.Count(out.String(), "now: building it") < 2 {
		t.Errorf("printed (%v):\n%s", err, out.String())
	}
	if first, _, _ := strings.Cut(out.String(), "\n"); !strings.HasPrefix(first, "  60.") {
		t.Errorf("the first line is %q, want the time since the command began", first)
	}
}

func TestLinesOfOthersCountAsProgress(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := New(Settings{Out: &out})
	s.begin("building")
	s.silence = time.Hour
	s.repeat()
	if strings.Contains(out.String(), "now: building") {
		t.Errorf("repeated at once:\n%s", out.String())
	}
}
