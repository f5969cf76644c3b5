package stack

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// engineOf is a docker command whose images and containers hold this program, whatever was built.
// It records its calls and keeps the context of the last build.
func engineOf(t *testing.T, program string) (dir string, calls func() string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "relay"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`#!/bin/sh
echo "$*" >>%[1]s/calls
case "$*" in
version*) echo amd64 ;;
build*) cat >%[1]s/context ;;
compose*" ps "*) echo container ;;
cp*) tar -cf - -C %[1]s relay ;;
esac
`, dir)
	//nolint:gosec // it is a program
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return dir, func() string {
		content, err := os.ReadFile(filepath.Join(dir, "calls"))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
}

func TestImageOfAnotherProgramIsRefused(t *testing.T) {
	_, calls := engineOf(t, "an older program")
	s := New(Settings{Root: "../../..", Dir: t.TempDir(), Out: &bytes.Buffer{}})
	image := Image{Tag: "outbox-relay:test", Arch: "arm64"}

	err := s.packImage(t.Context(), image, []byte("a newer program"))
	if err == nil || !strings.Contains(err.Error(), image.Tag) ||
		!strings.Contains(err.Error(), "docker builder prune --all") {
		t.Errorf("error is %v, and does not name the image and the cure", err)
	}
	if strings.Contains(calls(), image.Tag) || !strings.Contains(calls(), "rmi outbox-relay:unchecked-") {
		t.Errorf("the image was tagged or stayed:\n%s", calls())
	}
	if err := s.packImage(t.Context(), image, []byte("an older program")); err != nil {
		t.Errorf("the image that holds its program: %v", err)
	}
	if !strings.Contains(calls(), " "+image.Tag+"\n") {
		t.Errorf("the image was not tagged:\n%s", calls())
	}
}

func TestImageContextHasFixedOwnersModesAndTimes(t *testing.T) {
	dir, _ := engineOf(t, "program")
	created := time.Unix(1790000000, 0)
	s := New(Settings{Root: "../../..", Dir: t.TempDir(), Out: &bytes.Buffer{}})
	if err := s.packImage(t.Context(), Image{Arch: "amd64", Created: created}, []byte("program")); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "context"))
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(bytes.NewReader(content))
	for _, want := range []string{"Dockerfile -rw-r--r--", "linux/amd64/relay -rwxr-xr-x"} {
		file, err := archive.Next()
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(file.Name, " ", file.FileInfo().Mode()); got != want ||
			file.Uid != 0 || file.Gid != 0 || file.Uname != "" || !file.ModTime.Equal(created) {
			t.Errorf("the context holds %+v, want %s", file, want)
		}
	}
	if _, err := archive.Next(); err == nil {
		t.Error("the context holds more than two files")
	}
}

func TestComposeRefusesARelayOfAnotherProgram(t *testing.T) {
	engineOf(t, "the program of another checkout")
	c := &compose{Stack: New(Settings{Root: "../../..", Dir: t.TempDir(), Out: &bytes.Buffer{}})}
	path := c.imageBinary("amd64")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]string{
		"the program of this checkout": "make localstack-down", "the program of another checkout": "",
	} {
		if err := os.WriteFile(path, []byte(program), 0o600); err != nil {
			t.Fatal(err)
		}
		err := c.startRelay(t.Context(), "arn")
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s was built: error is %v, want %q", program, err, want)
		}
	}
}

func TestComposeReplacesARelayOfOlderSource(t *testing.T) {
	dir, _ := engineOf(t, "the program of older source")
	s := New(Settings{Root: "../../..", Dir: t.TempDir(), Out: &bytes.Buffer{}})
	state := State{Way: Compose, Ready: true}
	if up, err := s.current(t.Context(), state); up || err != nil {
		t.Errorf("a relay of older source counts as up: %v (%v)", up, err)
	}
	program, err := os.ReadFile(s.imageBinary("amd64"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "relay"), program, 0o600); err != nil {
		t.Fatal(err)
	}
	if up, err := s.current(t.Context(), state); !up || err != nil {
		t.Errorf("a relay of this source counts as outdated: %v (%v)", up, err)
	}
}
