package stack

import (
	"bytes"
	"os"
	"path/filepath"
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

func TestSilenceBeforeAnyStepHasItsDuration(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := New(Settings{Out: &out})
	s.watch("looking for what runs already")()
	s.silence = 0
	s.repeat()
	if got := out.String(); !strings.Contains(got, "for 0s now: looking for what runs already") {
		t.Errorf("printed %q, want the time since the command began to wait", got)
	}
}

func TestDownRepeatsItsSlowStep(t *testing.T) {
	dir := t.TempDir()
	printed := filepath.Join(dir, "printed")
	out, err := os.Create(printed)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	// docker compose down ends once its step was repeated, or after ten seconds.
	script := "#!/bin/sh\ncase \"$*\" in ps*) echo dir=" + dir + " ;; *' down '*)\n" +
		"for i in $(seq 100); do grep -q 'now: stopping' " + printed + " && exit; sleep 0.1; done ;; esac\n"
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	s := New(Settings{Root: "../../..", Dir: dir, Out: out})
	s.silence = 50 * time.Millisecond
	if err := s.Down(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(printed)
	if err != nil || !strings.Contains(string(content), "now: stopping the containers") {
		t.Errorf("the step was not repeated (%v):\n%s", err, content)
	}
}
