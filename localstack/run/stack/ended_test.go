package stack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStoppedContainerReadsAsOneSentence(t *testing.T) {
	const log = `{"time":"2026-11-28T10:00:00Z","level":"ERROR","msg":"cannot start","err":"no slot"}`
	for _, c := range []struct{ state, want string }{
		{"false 0 2026-11-28T10:00:00.5Z", "its container was stopped at 2026-11-28 "},
		{"false 2 2026-11-28T10:00:00.5Z", ": cannot start: no slot"},
	} {
		dir := t.TempDir()
		script := "#!/bin/sh\ncase $1 in compose) echo id ;; inspect) echo '" + c.state + "' ;; logs) echo '" + log +
			"' ;; esac\n"
		if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
		compose := &compose{Stack: New(Settings{Dir: dir, Root: "../../.."})}
		text := part{err: compose.explained(t.Context(), part{name: "relay", err: os.ErrDeadlineExceeded})}.describe()
		if !strings.Contains(text, c.want) || strings.Contains(text, "{") {
			t.Errorf("status of the container %q: %q, want %q", c.state, text, c.want)
		}
	}
}

func TestOneOfAThingIsSingular(t *testing.T) {
	t.Parallel()
	for n, want := range []string{"0 messages", "1 message", "2 messages"} {
		if got := counted(n, "message"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
