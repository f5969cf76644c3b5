package testrun

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// plan is what is known before the tests run.
type plan struct {
	module string
	tests  map[string]int // of each package; zero where args select some of them
}

// planFor asks go list for the packages that args name.
func planFor(ctx context.Context, dir string, args []string) (plan, error) {
	patterns := slices.DeleteFunc(slices.Clone(args), func(arg string) bool {
		return !strings.HasPrefix(arg, "./") && arg != "." && !strings.HasSuffix(arg, "...")
	})
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-e", "-json=ImportPath,Dir,Module,TestGoFiles,XTestGoFiles"}, patterns...)...)
	cmd.Dir = dir
	output, err := cmd.Output()
	if err != nil {
		return plan{}, fmt.Errorf("list packages: %w", err)
	}
	return read(string(output), selects(args))
}

// selects reports whether args have other tests run than each of a package once.
func selects(args []string) bool {
	args = slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return arg == "-count=1" })
	return slices.ContainsFunc([]string{"run", "skip", "count", "bench", "list", "fuzz"}, func(flag string) bool { return asks(args, flag) })
}

// listed is a package as go list describes it.
type listed struct {
	ImportPath, Dir           string
	Module                    struct{ Path string }
	TestGoFiles, XTestGoFiles []string
}

func read(list string, selected bool) (plan, error) {
	p := plan{tests: map[string]int{}}
	for decoder := json.NewDecoder(strings.NewReader(list)); ; {
		var l listed
		if err := decoder.Decode(&l); err == io.EOF {
			return p, nil
		} else if err != nil {
			return plan{}, fmt.Errorf("read the list of packages: %w", err)
		}
		p.module, p.tests[l.ImportPath] = l.Module.Path, 0
		if !selected {
			p.tests[l.ImportPath] = countTests(l)
		}
	}
}

// runnable is the head of a function that go test runs when it is asked for nothing particular.
// Examples are left out: those without a comment on their output do not run.
var runnable = regexp.MustCompile(`(?m)^func (Test\w*\(\w+ \*testing\.T|Fuzz\w*\(\w+ \*testing\.F)\)`)

// countTests counts the tests of a package. A file that cannot be read counts as empty: go test
// says why.
func countTests(l listed) (n int) {
	for _, name := range append(l.TestGoFiles, l.XTestGoFiles...) {
		source, _ := os.ReadFile(filepath.Join(l.Dir, name))
		n += len(runnable.FindAll(source, -1))
	}
	return n
}
