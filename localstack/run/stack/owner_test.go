package stack

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// fakeDocker is a docker command that reports this owner, has every volume, and records its calls.
func fakeDocker(t *testing.T, owner string) (calls func() string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	script := fmt.Sprintf("#!/bin/sh\necho \"$*\" >>%s\ncase $1 in ps) echo dir=%s ;; esac\n", log, owner)
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return func() string {
		content, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
}

func TestContainersOfAnotherFolderAreLeftAlone(t *testing.T) {
	other := t.TempDir()
	calls := fakeDocker(t, other)
	s := New(Settings{Root: "../../..", Dir: t.TempDir(), Ports: Ports{1, 2, 3}, Out: &bytes.Buffer{}})
	want := "belong to " + other + ": run make localstack-down there"

	if _, err := s.Up(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("up: error is %v, want %q", err, want)
	}
	if err := s.Down(t.Context(), true); err != nil {
		t.Errorf("down with data, with nothing of its own: %v", err)
	}
	if err := s.save(State{Way: Compose, Ready: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Up(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("up with a state of its own: error is %v, want %q", err, want)
	}
	if err := s.Down(t.Context(), true); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("down with a state of its own: error is %v, want %q", err, want)
	}
	for _, call := range []string{" up ", " down "} {
		if strings.Contains(calls(), call) {
			t.Errorf("docker compose%swas called:\n%s", call, calls())
		}
	}
	if removed := "volume rm " + (&compose{Stack: s}).volume(); !strings.Contains(calls(), removed) {
		t.Errorf("the folder's own volume was not removed:\n%s", calls())
	}
}

func TestEngineThatRefusesIsNamedWithACure(t *testing.T) {
	for said, want := range map[string]string{
		"permission denied while trying to connect to the Docker daemon socket":          "usermod -aG docker",
		"Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is it up?":  "start Docker",
		"failed to connect to the docker API at unix:///x; check if the path is correct": "start Docker",
	} {
		dir := t.TempDir()
		script := "#!/bin/sh\ncase $* in *--format*) echo 'template: :1:2: nil pointer' >&2 ;; *) echo '" + said +
			"' >&2 ;; esac\nexit 1\n"
		if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
		err := (&compose{Stack: New(Settings{Dir: t.TempDir()})}).check(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), said) {
			t.Errorf("docker says %q: error is %v, want %q in it", said, err, want)
		}
	}
}

func TestContainersWhoseStateWasLostAreStopped(t *testing.T) {
	dir := t.TempDir()
	calls := fakeDocker(t, dir)
	s := New(Settings{Root: "../../..", Dir: dir, Out: &bytes.Buffer{}})
	if err := s.Down(t.Context(), false); err != nil || !strings.Contains(calls(), " down ") {
		t.Errorf("down: %v, docker was called with:\n%s", err, calls())
	}
}

func TestContainersOfAFolderThatIsGoneAreTaken(t *testing.T) {
	fakeDocker(t, filepath.Join(t.TempDir(), "gone"))
	c := &compose{Stack: New(Settings{Dir: t.TempDir()})}
	if err := c.ours(t.Context()); err != nil {
		t.Errorf("error is %v", err)
	}
}

func TestEveryContainerSaysWhoseItIs(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	type labelled struct{ Labels map[string]string }
	var file struct{ Services, Volumes map[string]labelled }
	if err := yaml.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []map[string]labelled{file.Services, file.Volumes} {
		for name, one := range kind {
			if one.Labels[ownerLabel] != "${LOCAL_DIR:-}" {
				t.Errorf("%s has the labels %v", name, one.Labels)
			}
		}
	}
}

func TestDownWithoutDataClaimsNone(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // no docker
	var out bytes.Buffer
	s := New(Settings{Dir: t.TempDir(), Out: &out})
	if err := s.Down(t.Context(), false); err != nil || !strings.Contains(out.String(), "there is no data") {
		t.Errorf("down: %v, printed %q", err, out.String())
	}
}
