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

// plan is the information that is available before the tests run.
type plan struct {
	module string
	tests  map[string]int // by package; zero if args select a subset
}

// planFor runs go list for the packages in args.
func planFor(ctx context.Context, dir string, args []string) (plan, error) {
	patterns := slices.DeleteFunc(slices.Clone(args), func(arg string) bool {
		return !strings.HasPrefix(arg, "./") && arg != "." && !strings.HasSuffix(arg, "...")
	})
	cmd := exec.CommandContext(ctx, "go", append([]string{
		"list", "-e",
		"-json=ImportPath,Dir,Module,TestGoFiles,XTestGoFiles",
	}, patterns...)...)
	cmd.Dir = dir
	output, err := cmd.Output()
	if err != nil {
		return plan{}, fmt.Errorf("list packages: %w", err)
	}
	return read(string(output), selects(args))
}

// selects reports whether args select a subset or a repetition of the tests.
func selects(args []string) bool {
	args = slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return arg == "-count=1" })
	return slices.ContainsFunc([]string{"run", "skip", "count", "bench", "list", "fuzz"},
		func(flag string) bool { return asks(args, flag) })
}

// listed is the description of a package by go list.
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

// runnable matches the head of a function that go test runs by default. Examples are excluded,
// because those without an output comment do not run.
var runnable = regexp.MustCompile(`(?m)^func (Test\w*\(\w+ \*testing\.T|Fuzz\w*\(\w+ \*testing\.F)\)`)

// countTests counts the tests of a package. An unreadable file counts as empty: go test reports the
// error.
func countTests(l listed) (n int) {
	for _, name := range append(l.TestGoFiles, l.XTestGoFiles...) {
		source, _ := os.ReadFile(filepath.Join(l.Dir, name))
		n += len(runnable.FindAll(source, -1))
	}
	return n
}
