package stack

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNextCommandSaysWhyTheStackEnded(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // no docker
	var out bytes.Buffer
	s := New(Settings{Dir: t.TempDir(), Insist: "none", Out: &out})
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.saveEnding(Embedded, errors.New("postgres ended: signal: killed")); err != nil {
		t.Fatal(err)
	}
	_, loadErr := s.Load()
	_, upErr := s.Up(t.Context()) // ends at the unknown way
	if upErr == nil {
		t.Error("up of no way: no error")
	}
	for command, text := range map[string]string{
		"status": s.Status(t.Context(), &out).Error(), "load": loadErr.Error(), "up": out.String(),
	} {
		for _, want := range []string{"postgres ended: signal: killed", "fake broker were in memory"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s says %q, want %q in it", command, text, want)
			}
		}
	}
	if err := s.Down(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if err := s.Status(t.Context(), &out); err != nil {
		t.Errorf("status after down: %v", err)
	}
}

func TestKilledSupervisorIsNamed(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := New(Settings{Dir: t.TempDir(), Out: &out})
	if err := s.save(State{Way: Host, Ready: true, Supervisor: 4711}); err != nil {
		t.Fatal(err)
	}
	err := s.Status(t.Context(), &out)
	if err == nil || !strings.Contains(err.Error(), "process, 4711, was killed") {
		t.Errorf("status: %v", err)
	}
}

func TestLogOfTheRunBeforeIsKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "relay.log")
	for _, text := range []string{"first", "second", "third"} {
		file, err := createLog(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{path: "third", earlier(path): "second"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s has %q (%v), want %q", name, got, err, want)
		}
	}
}
