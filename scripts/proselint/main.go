// Command proselint checks the English of this repository: how wide its lines are and which words
// they use. It prints every place that breaks a rule, and with --figures the counts of every
// directory. CONTRIBUTING.md has the rules.
package main

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"
)

type cli struct {
	Figures bool   `help:"Print the figures of every directory and fail on nothing."`
	Root    string `arg:"" optional:"" help:"Root of the repository." default:"."`
}

func main() {
	var c cli
	kong.Parse(&c, kong.Name("proselint"),
		kong.Description("Checks the width of lines and the words of comments, messages and documents."))
	if err := c.run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "proselint:", err)
		os.Exit(1)
	}
}

func (c cli) run(out io.Writer) error {
	dirs, err := check(os.DirFS(c.Root))
	if err != nil {
		return err
	}
	if c.Figures {
		return printFigures(out, dirs)
	}
	found := problems(dirs)
	for _, f := range found {
		fmt.Fprintln(out, f)
	}
	if len(found) > 0 {
		return fmt.Errorf("%d problems: CONTRIBUTING.md says how the English of this repository reads", len(found))
	}
	return nil
}

// problems returns the findings of all directories.
func problems(dirs map[string]*figures) (found []finding) {
	for _, f := range dirs {
		found = append(found, f.problems()...)
	}
	slices.SortFunc(
		found,
		func(a, b finding) int { return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.line, b.line)) },
	)
	return found
}

// check reads every file below root whose text has rules and returns the figures by directory.
func check(root fs.FS) (map[string]*figures, error) {
	dirs := map[string]*figures{}
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".github" ||
			d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		if slices.Contains(released, path) {
			return nil
		}
		text, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		scan := scannerOf(path, text)
		if scan == nil {
			return nil
		}
		dir := filepath.Dir(path)
		if dirs[dir] == nil {
			dirs[dir] = &figures{}
		}
		return scan(path, text, dirs[dir])
	})
	return dirs, err
}

func printFigures(out io.Writer, dirs map[string]*figures) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(
		table,
		"comment lines\twide\twith \"what\"\tcode lines\twide\twide prose\tforbidden words\tdirectory\t",
	)
	var all figures
	for _, name := range slices.Sorted(maps.Keys(dirs)) {
		dirs[name].print(table, name)
		all.add(dirs[name])
	}
	all.print(table, "all")
	return table.Flush()
}
