package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestWorkflowsCallTargetsThatExist: a contributor can run every check of a workflow.
func TestWorkflowsCallTargetsThatExist(t *testing.T) {
	t.Parallel()
	targets, calls := targetsOfMakefile(t), 0
	for _, l := range workflowLines(t) {
		command, isCommand := strings.CutPrefix(strings.TrimLeft(l.text, " -"), "run: ")
		if !isCommand {
			continue
		}
		calls++
		if target, isTarget := strings.CutPrefix(command, "make "); !isTarget || !targets[target] {
			t.Errorf("%s: %q, want make and a target of the Makefile", l.file, command)
		}
	}
	if calls < 5 {
		t.Errorf("%d calls of make, want more", calls)
	}
}

// TestWorkflowsPinTheirActions: a tag can be moved to another commit, a commit cannot change.
// https://docs.github.com/en/actions/security-guides/security-hardening-for-github-actions#using-third-party-actions
func TestWorkflowsPinTheirActions(t *testing.T) {
	t.Parallel()
	pinned, uses := regexp.MustCompile(`^[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`), map[string]bool{}
	for _, l := range workflowLines(t) {
		action, isUse := strings.CutPrefix(strings.TrimLeft(l.text, " -"), "uses: ")
		if !isUse {
			continue
		}
		uses[action] = true
		if !pinned.MatchString(action) {
			t.Errorf("%s: %s is not pinned as owner/name@COMMIT # vX.Y.Z", l.file, action)
		}
	}
	names := map[string]string{}
	for action := range uses {
		name, _, _ := strings.Cut(action, "@")
		if before := names[name]; before != "" {
			t.Errorf("two versions of %s: %s and %s", name, before, action)
		}
		names[name] = action
	}
	if len(names) < 2 {
		t.Errorf("%d actions, want more", len(names))
	}
}

type workflowLine struct{ file, text string }

// workflowLines returns the lines of every workflow.
func workflowLines(t *testing.T) (all []workflowLine) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*.y*ml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("workflows %v: %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for text := range strings.Lines(string(text)) {
			all = append(all, workflowLine{filepath.Base(file), strings.TrimRight(text, "\n")})
		}
	}
	return all
}
