package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

const root = "../../.."

var (
	codeSpan = regexp.MustCompile("`[^`]+`")
	// commandLine matches a call of the relay at the beginning of a line or a code span, after the
	// variables that it sets.
	commandLine = regexp.MustCompile("(?m)^`?(?:[A-Z_]+=\\S* )*(?:\\.local/bin/)?relay " +
		"([a-z-]+(?:[^`#\n|>&;\\\\]|\\\\\n)*)")
	variable = regexp.MustCompile(`\b(?:RELAY|DATABASE)_[A-Z_]*[A-Z]\b`)
)

// documents returns the text of every Markdown file of the repository, by its path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != "." {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".md") {
			return nil
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		all[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// codeOf returns the code spans of a text, one a line, and then its fenced blocks.
func codeOf(text string) string {
	var code []string
	for i, part := range strings.Split(text, "```") {
		if i%2 == 1 {
			code = append(code, part)
			continue
		}
		for _, span := range codeSpan.FindAllString(part, -1) {
			code = append(code, strings.ReplaceAll(span, "\n", " "))
		}
	}
	return strings.Join(code, "\n")
}

func TestDocumentedCommandsExist(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&commands{})
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for path, text := range documents(t) {
		for _, call := range commandLine.FindAllStringSubmatch(codeOf(text), -1) {
			calls++
			if unknown := unknownTo(parser.Model.Node, strings.Fields(call[1])); unknown != "" {
				t.Errorf("%s: relay %s: the relay does not know %s", path, strings.TrimSpace(call[1]), unknown)
			}
		}
	}
	if calls < 40 {
		t.Errorf("%d calls of the relay, want more", calls)
	}
}

// unknownTo returns the first word of a call that names no command or flag of the node.
func unknownTo(node *kong.Node, words []string) string {
	for _, word := range words {
		if name, isFlag := strings.CutPrefix(word, "--"); isFlag {
			name, _, _ = strings.Cut(name, "=")
			if name != "help" && !hasFlag(node, name) {
				return word
			}
			continue
		}
		if len(node.Children) == 0 {
			continue // an argument, or the value of a flag
		}
		i := slices.IndexFunc(node.Children, func(child *kong.Node) bool { return child.Name == word })
		if i < 0 {
			return word
		}
		node = node.Children[i]
	}
	return ""
}

func hasFlag(node *kong.Node, name string) bool {
	for _, group := range node.AllFlags(false) {
		if slices.ContainsFunc(group, func(f *kong.Flag) bool { return f.Name == name }) {
			return true
		}
	}
	return false
}

// TestDocumentedSettingsExist in the relay, the functions, or a program of the local stack.
func TestDocumentedSettingsExist(t *testing.T) {
	t.Parallel()
	known := placesOfValues(t)
	known["RELAY_DESTINATON"] = true // the misspelling that relay check finds in its example
	env := regexp.MustCompile(`env:"([A-Z_,]+)"`)
	for _, folder := range []string{"relay/cmd/relay", "localstack", "scripts", "functions/internal/settings"} {
		sources, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
		if err != nil || len(sources) == 0 && folder != "scripts" {
			t.Fatalf("%s: %d sources, %v", folder, len(sources), err)
		}
		for _, source := range sources {
			text, err := os.ReadFile(source)
			if err != nil {
				t.Fatal(err)
			}
			for _, tag := range env.FindAllStringSubmatch(string(text), -1) {
				known[tag[1]] = true
			}
		}
	}
	for path, text := range documents(t) {
		for _, name := range variable.FindAllString(text, -1) {
			if !known[name] && name != "RELAY_COLUMN" { // RELAY_COLUMN_… names all of them
				t.Errorf("%s: there is no setting %s", path, name)
			}
		}
	}
}

// placesOfValues returns the names that the reader replaces by values. RELAY_CLUSTER is the stack's
// output RelayCluster.
func placesOfValues(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\nOutputs:\n")
	names := map[string]bool{}
	for _, output := range regexp.MustCompile(`(?m)^  ([A-Z][A-Za-z]+):`).FindAllStringSubmatch(section, -1) {
		words := regexp.MustCompile(`([a-z])([A-Z])`).ReplaceAllString(output[1], "${1}_$2")
		names[strings.ToUpper(words)] = true
	}
	if len(names) < 5 {
		t.Fatalf("outputs %v, want more", names)
	}
	// The reader of infra/ecs/README.md sets these for the files beside it.
	files, err := filepath.Glob(filepath.Join(root, "infra/ecs/*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files for ECS, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, place := range regexp.MustCompile(`\$\{?([A-Z_]+)`).FindAllStringSubmatch(string(text), -1) {
			names[place[1]] = true
		}
	}
	return names
}

// TestEachCommandHasARow in the table of commands.
func TestEachCommandHasARow(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&commands{})
	if err != nil {
		t.Fatal(err)
	}
	page := documents(t)["relay/docs/commands.md"]
	for _, command := range parser.Model.Leaves(true) {
		row := regexp.MustCompile("(?m)^\\| `relay [^|]*\\b" + command.Name + "`[^|]*\\|.*\\|$").FindString(page)
		if parent := command.Parent; row != "" && parent.Type == kong.CommandNode &&
			!strings.Contains(row, "`relay "+parent.Name+" ") {
			row = ""
		}
		if row == "" {
			t.Errorf("relay/docs/commands.md has no row for relay %s", command.Path())
		}
	}
}
