package infra_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// registry replaces docker by a script that returns the digest d…d for every image, or the digest
// in DIGEST.
const registry = `#!/bin/sh
case "$*" in
buildx\ imagetools\ inspect*)
	echo "${DIGEST-sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd}" ;;
*) exit 1 ;;
esac
`

// pinned runs scripts/pin-images on a copy of the files that reference images.
func pinned(t *testing.T, folder string, environment ...string) (compose, program string, err error) {
	t.Helper()
	cmd := exec.Command("../scripts/pin-images", folder)
	cmd.Env = append(append(os.Environ(), "PATH="+folder+":"+os.Getenv("PATH")), environment...)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("%s", output)
	}
	texts := [2]string{}
	for i, file := range []string{"localstack/compose.yaml", "localstack/run/stack/compose.go"} {
		text, readErr := os.ReadFile(filepath.Join(folder, file))
		if readErr != nil {
			t.Fatal(readErr)
		}
		texts[i] = string(text)
	}
	return texts[0], texts[1], err
}

func TestReleasePinsImagesToDigests(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, file := range []string{"localstack/compose.yaml", "localstack/run/stack/compose.go"} {
		text, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		//nolint:gosec // a directory of this test
		if err := os.MkdirAll(filepath.Dir(filepath.Join(folder, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	//nolint:gosec // an executable
	if err := os.WriteFile(filepath.Join(folder, "docker"), []byte(registry), 0o755); err != nil {
		t.Fatal(err)
	}
	digest := "@sha256:" + strings.Repeat("d", 64)
	for range 2 { // the second round replaces the earlier digest
		compose, program, err := pinned(t, folder)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(compose, "image: postgres:17"+digest+"\n") ||
			!strings.Contains(compose, "image: localstack/localstack:4.14.0"+digest+" #") ||
			strings.Count(compose, digest) != 2 {
			t.Errorf("compose.yaml has %s", compose)
		}
		if !strings.Contains(program, `"postgres:17" + "`+digest+"\"\n") ||
			!strings.Contains(program, `LocalStackVersion + "`+digest+"\"\n") ||
			strings.Count(program, digest) != 2 {
			t.Errorf("compose.go has %s", program)
		}
	}
	if compose, _, err := pinned(t, folder, "DIGEST="); err == nil || !strings.Contains(compose, digest) {
		t.Errorf("an image without a digest: %v", err)
	}
}
