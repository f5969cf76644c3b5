package infra_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// secretArguments matches a secret among the arguments of a command, which every process of the
// machine can read.
// https://man7.org/linux/man-pages/man5/proc_pid_cmdline.5.html
var secretArguments = regexp.MustCompile(
	`--user[ =]|(^|\s)-u\s+["']?[^\s:]*:|--password[ =]|` +
		`-(H|-header)[ =]["'][^"']*(Token|Authorization|Secret)[^"']*["']|` +
		`^\s*(curl|psql|relay|aws|docker|\.local/bin/relay)\b.*(postgres(ql)?://[^\s/@:]+:[^\s@]+@|SECRET|PASSWORD=)`)

func TestNoDocumentPutsASecretOnACommandLine(t *testing.T) {
	t.Parallel()
	pages := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".." {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".md" && filepath.Dir(path) != "../scripts" || entry.IsDir() {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		pages++
		for i, line := range strings.Split(string(text), "\n") {
			if found := secretArguments.FindString(line); found != "" {
				t.Errorf("%s, line %d: %q puts a secret on a command line", path, i+1, found)
			}
		}
		return nil
	})
	if err != nil || pages < 6 {
		t.Errorf("%d pages: %v", pages, err)
	}
}
