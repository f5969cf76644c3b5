package infra_test

import (
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"
)

// GitHub ignores a form or a workflow that it cannot read, and says so only in the browser.
func TestFilesForGitHubAreYAML(t *testing.T) {
	t.Parallel()
	files := 0
	for _, pattern := range []string{"../.github/*.yaml", "../.github/*/*.yaml"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range found {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var content map[string]any
			if err := yaml.Unmarshal(text, &content); err != nil || len(content) == 0 {
				t.Errorf("%s: %v", name, err)
			}
			files++
		}
	}
	if files == 0 {
		t.Error("no file was read")
	}
}
