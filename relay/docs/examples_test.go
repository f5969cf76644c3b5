package docs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBlocksAreTheFilesThatRun: a block behind a comment `file:` is that file, which a test runs.
func TestBlocksAreTheFilesThatRun(t *testing.T) {
	t.Parallel()
	const mark = "<!-- file: "
	blocks := map[string]int{}
	for _, p := range pages(t) {
		for i, l := range p.lines {
			name, marked := strings.CutPrefix(l.text, mark)
			if !marked {
				continue
			}
			name = strings.TrimSuffix(name, " -->")
			file, err := os.ReadFile(filepath.Join(root, filepath.Dir(p.path), name))
			if err != nil {
				t.Errorf("%s:%d: %v", p.path, l.number, err)
				continue
			}
			if got := blockAt(p, i+1); got != string(file) {
				t.Errorf("%s:%d: the block is not the file %s", p.path, l.number, name)
			}
			blocks[filepath.Dir(name)]++
		}
	}
	for _, directory := range []string{"examples/typescript", "examples/python"} {
		if blocks[directory] < 2 {
			t.Errorf("%d blocks show files of %s, want 2", blocks[directory], directory)
		}
	}
}

// blockAt returns the text of the fenced block that begins at line i of the page.
func blockAt(p page, i int) string {
	var text strings.Builder
	for _, l := range p.lines[i+1:] {
		if l.text == fence {
			return text.String()
		}
		text.WriteString(l.text + "\n")
	}
	return ""
}
