package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func TestWithoutACommandTheHelpIsPrinted(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), nil, &out); err != nil {
		t.Errorf("run: %v", err)
	}
	for _, want := range []string{"Usage: relay <command>", "dead-letters list", "--version"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the help has no %q:\n%s", want, out.String())
		}
	}
}

// TestWrongUsageNamesTheHelpOfItsCommand, which lists the settings. That of the relay lists none.
func TestWrongUsageNamesTheHelpOfItsCommand(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"rnu": "relay --help lists", "run --foo": "relay run --help shows",
		"run --window-bytes=3x":   "relay run --help shows",
		"dead-letters list --foo": "relay dead-letters list --help shows",
	} {
		err := run(t.Context(), strings.Fields(args), &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), "("+want) {
			t.Errorf("relay %s: the error %v does not say %q", args, err, want)
		}
	}
}

func TestVersionIsAFlagToo(t *testing.T) {
	t.Parallel()
	if out, code := exitOf(t, "--version"); out != version+"\n" || code != 0 {
		t.Errorf("printed %q, exit code %d", out, code)
	}
}

func TestHelpOfRunBeginsWithWhatIsNeeded(t *testing.T) {
	t.Parallel()
	help, code := exitOf(t, "run", "--help")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	at := 0
	for _, want := range []string{
		"\nNeeded", "--database-url", "--destination", "\nPostgres", "\nOutbox table", "--slot", "\nColumns",
		"\nDestinations", "\nTuning", "\nOperation", "\nLogging",
	} {
		i := strings.Index(help[at:], want)
		if i < 0 {
			t.Fatalf("no %q after the one before:\n%s", want, help)
		}
		at += i
	}
}

// exitOf returns the output and exit code of flags that end the program.
func exitOf(t *testing.T, args ...string) (string, int) {
	t.Helper()
	return exitWith(t, grammarOf(args), args...)
}

func exitWith(t *testing.T, grammar any, args ...string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	codes := []int{}
	parser, err := newParser(t.Context(), &out, grammar, kong.Exit(func(code int) { codes = append(codes, code) }))
	if err != nil {
		t.Fatal(err)
	}
	// Parse continues after the exit, but only in this test.
	_, _ = parser.Parse(args)
	if len(codes) == 0 {
		t.Fatalf("relay %s does not exit", strings.Join(args, " "))
	}
	return out.String(), codes[0]
}
