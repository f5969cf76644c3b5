package infra_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestTemplatesPassOnlyExistingRelaySettings(t *testing.T) {
	t.Parallel()
	// a test of relay/cmd/relay compares this table with the command
	page, err := os.ReadFile("../relay/docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	_, env := container(t)
	for name := range env {
		if !strings.Contains(string(page), "\n| `"+name+"` |") && name != "PGUSER" {
			t.Errorf("relay run has no setting %s", name)
		}
	}
	if len(env) < 10 {
		t.Errorf("settings %v", env)
	}
}

func TestTemplatesPassOnlyExistingFunctionSettings(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../functions/internal/settings/settings.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(root)
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^ +((?:DATABASE|LOG|PG)[A-Z_]*): `).FindAllStringSubmatch(string(text), -1)
	if len(names) < 5 {
		t.Fatalf("settings %v", names)
	}
	for _, name := range names {
		if !strings.Contains(string(source), strconv.Quote(name[1])) && name[1] != "PGUSER" {
			t.Errorf("the functions have no setting %s", name[1])
		}
	}
}
