package infra_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// release is the part of .goreleaser.yaml that has to agree with other files.
type release struct {
	Dist   string
	Builds []struct {
		Main, Binary              string
		Env, Flags, Ldflags, Goos []string
		Goarch                    []string
	}
	Checksum struct {
		Name string `yaml:"name_template"`
	}
	Digest struct {
		Name string `yaml:"name_template"`
	} `yaml:"docker_digest"`
	Dockers []struct {
		Dockerfile string
		Platforms  []string
	} `yaml:"dockers_v2"`
	Release struct{ Draft bool }
}

func readRelease(t *testing.T) release {
	t.Helper()
	var r release
	if err := yaml.Unmarshal([]byte(readFile(t, "../.goreleaser.yaml")), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Builds) != 1 || len(r.Dockers) != 1 {
		t.Fatalf("%d builds and %d images, want 1 and 1", len(r.Builds), len(r.Dockers))
	}
	return r
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAReleaseBuildsWhatCIBuilds(t *testing.T) {
	t.Parallel()
	r, makefile := readRelease(t), readFile(t, "../Makefile")
	build := r.Builds[0]
	for _, goos := range build.Goos {
		for _, goarch := range build.Goarch {
			if !regexp.MustCompile(`for target in [a-z0-9/ ]*\b` + goos + "/" + goarch + `\b`).MatchString(makefile) {
				t.Errorf("make cross-build does not build %s/%s", goos, goarch)
			}
		}
	}
	for _, platform := range r.Dockers[0].Platforms {
		goos, goarch, _ := strings.Cut(platform, "/")
		if !slices.Contains(build.Goos, goos) || !slices.Contains(build.Goarch, goarch) {
			t.Errorf("the image for %s has no program", platform)
		}
	}
	flags := "go build " + strings.Join(build.Flags, " ") + " -ldflags '" +
		strings.Replace(build.Ldflags[0], "{{ .Version }}", "$(VERSION)", 1) + "'"
	if !strings.Contains(makefile, flags) || !slices.Contains(build.Env, "CGO_ENABLED=0") {
		t.Errorf("make build does not call %s", flags)
	}
	if !strings.Contains(readFile(t, "../relay/cmd/relay/main.go"), "\nvar version = ") {
		t.Error("the program has no variable main.version")
	}
	for _, path := range []string{build.Main, r.Dockers[0].Dockerfile} {
		if _, err := os.Stat("../" + path); err != nil {
			t.Error(err)
		}
	}
}

// A tag publishes nothing before a maintainer has read it.
func TestAReleaseIsADraftWithProvenance(t *testing.T) {
	t.Parallel()
	r, workflow := readRelease(t), readFile(t, "../.github/workflows/release.yaml")
	if !r.Release.Draft {
		t.Error("the release is public at once")
	}
	for _, file := range []string{r.Checksum.Name, r.Digest.Name} {
		if want := "subject-checksums: " + r.Dist + "/" + file; !strings.Contains(workflow, want) {
			t.Errorf("the workflow has no %q", want)
		}
	}
}
