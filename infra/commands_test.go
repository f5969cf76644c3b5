package infra_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	update = flag.Bool("update", false, "write the files that are derived")
	tools  = flag.Bool("tools", false, "ask the tools themselves for the options of their commands")
)

// commonOptions are the options of every AWS CLI command.
var commonOptions = []string{"--region", "--query", "--output", "--profile"}

// testdata/options.json has the options of each command according to its own help.
func TestCommandsHaveTheirOptions(t *testing.T) {
	t.Parallel()
	const file = "testdata/options.json"
	known := map[string][]string{}
	for _, c := range commands(t) {
		if name := c.name(); !strings.HasPrefix(name, "scripts/") {
			known[name] = nil
		} else if info, err := os.Stat("../" + name); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s: %s is not a program", c.page, name)
		}
	}
	named := slices.Sorted(maps.Keys(known))
	decodeJSON(t, file, &known)
	// Only missing commands are asked, because each answer takes seconds.
	if *update {
		for _, name := range named {
			if len(known[name]) == 0 {
				known[name] = help(t, name)
			}
		}
		maps.DeleteFunc(known, func(name string, _ []string) bool { return !slices.Contains(named, name) })
		writeOptions(t, file, known)
	}
	for _, name := range named {
		if len(known[name]) == 0 {
			t.Errorf("%s is not a command, or not in %s yet: run go test ./infra -run Options -update", name, file)
		}
	}
	for _, c := range commands(t) {
		for _, option := range c.options() {
			if !strings.HasPrefix(c.words[0], "scripts/") &&
				!slices.Contains(append(known[c.name()], commonOptions...), option) {
				t.Errorf("%s: %s has no option %s", c.page, c.name(), option)
			}
		}
	}
}

// TestToolsHaveTheRecordedOptions compares the recorded options with the tools of make templates,
// which sets -tools. Without that flag it only checks that every command has recorded options.
func TestToolsHaveTheRecordedOptions(t *testing.T) {
	t.Parallel()
	recorded := map[string][]string{}
	decodeJSON(t, "testdata/options.json", &recorded)
	turns := make(chan struct{}, 4) // the tools start slowly
	for name, options := range recorded {
		if len(options) == 0 && strings.Contains(name, " ") {
			t.Errorf("%s has no options", name)
		}
		if !*tools || !strings.Contains(name, " ") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			turns <- struct{}{}
			defer func() { <-turns }()
			now := help(t, name)
			for _, option := range options {
				if !slices.Contains(now, option) {
					t.Errorf("%s has no option %s any more: go test ./infra -run Options -update", name, option)
				}
			}
		})
	}
}

// help returns the options that a command lists in its help.
func help(t *testing.T, name string) []string {
	t.Helper()
	words := append(strings.Fields(name), map[bool]string{
		true:  "help",
		false: "--help",
	}[strings.HasPrefix(name, "aws")])
	cmd := exec.Command(words[0], words[1:]...) //nolint:gosec // commands of our own pages
	cmd.Env = append(os.Environ(), "PAGER=cat", "AWS_PAGER=", "COLUMNS=200", "SAM_CLI_TELEMETRY=0")
	output, err := cmd.Output()
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	text := regexp.MustCompile(".\b").ReplaceAllString(string(output), "")
	if _, synopsis, ok := strings.Cut(text, "SYNOPSIS"); ok {
		text, _, _ = strings.Cut(synopsis, "\nOPTIONS")
	}
	options := regexp.MustCompile(`--[a-z][a-z0-9-]*[a-z0-9]`).FindAllString(text, -1)
	slices.Sort(options)
	return slices.Compact(options)
}

// writeOptions writes one line for each command, so that a diff shows single commands.
func writeOptions(t *testing.T, file string, known map[string][]string) {
	t.Helper()
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(known)) {
		options, err := json.Marshal(known[name])
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("  %q: %s", name, options))
	}
	text := "{\n" + strings.Join(lines, ",\n") + "\n}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil { //nolint:gosec // part of the source
		t.Fatal(err)
	}
}

func TestCommandsNameParametersThatExist(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, c := range commands(t) {
		file := root
		if given := c.after("--template-file"); len(given) == 1 {
			file = "../" + given[0]
		}
		for _, word := range c.after("--parameter-overrides") {
			name, value, _ := strings.Cut(word, "=")
			template := read(t, file)
			if template.parameters[name] == nil {
				t.Errorf("%s: %s has no parameter %s", c.page, file, name)
			}
			if allowed := template.choices(name); len(allowed) > 0 && value != strings.ToUpper(value) &&
				!slices.Contains(allowed, value) {
				t.Errorf("%s: %s allows %v for %s, not %s", c.page, file, allowed, name, value)
			}
			checked++
		}
	}
	if checked < 20 {
		t.Errorf("%d parameters", checked)
	}
}

// samconfig returns the parameters of `sam deploy` for each environment.
func samconfig(t *testing.T) map[string]map[string]string {
	t.Helper()
	text, err := os.ReadFile("../samconfig.toml")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]map[string]string{}
	sections := regexp.MustCompile(`(?m)^\[(\w+)\.deploy\.parameters\].*\n((?:\w.*\n)+)`)
	setting := regexp.MustCompile(`(?m)^(\w+) = "?([^"\n#]*?)"? *(?:#.*)?$`)
	for _, section := range sections.FindAllStringSubmatch(string(text), -1) {
		found[section[1]] = map[string]string{}
		for _, line := range setting.FindAllStringSubmatch(section[2], -1) {
			found[section[1]][line[1]] = line[2]
		}
	}
	return found
}

// A stack without rollback stays partly updated, and CloudFormation then refuses every replacement.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-failure-options.html
func TestEveryStackRollsBackAndHasItsOwnName(t *testing.T) {
	t.Parallel()
	// The page explains how to add the first one, and deploys the second one without SAM.
	stacks := map[string]string{"orders-restored": "restored", "orders-large-events": "large-events.yaml"}
	environments := samconfig(t)
	for environment, values := range environments {
		if values["disable_rollback"] != "false" || values["capabilities"] != "CAPABILITY_IAM" ||
			values["resolve_s3"] != "true" {
			t.Errorf("%s: %v", environment, values)
		}
		if other := stacks[values["stack_name"]]; other != "" || values["stack_name"] == "" {
			t.Errorf("%s and %s have the stack %q", environment, other, values["stack_name"])
		}
		stacks[values["stack_name"]] = environment
	}
	for _, c := range commands(t) {
		for _, name := range append(c.after("--stack-name"), scriptArguments(c)...) {
			if name == strings.ToLower(name) && name != "outbox-relay" && stacks[name] == "" {
				t.Errorf("%s: no environment of samconfig.toml has the stack %s", c.page, name)
			}
		}
		for _, name := range c.after("--config-env") {
			if environments[name] == nil && name != "restored" {
				t.Errorf("%s: samconfig.toml has no environment %s", c.page, name)
			}
		}
	}
	if len(environments) != 2 {
		t.Errorf("environments %v", environments)
	}
}

func scriptArguments(c command) (arguments []string) {
	for _, word := range c.words[1:] {
		if c.words[0] == "scripts/protect-stack" && !strings.HasPrefix(word, "--") {
			arguments = append(arguments, word)
		}
	}
	return arguments
}

// A failed first deployment can be removed, and a wrong image does not delete a new database.
func TestFirstDeploymentsCanFail(t *testing.T) {
	t.Parallel()
	first := 0
	for _, c := range commands(t) {
		given := c.after("--parameter-overrides")
		if c.name() != "sam deploy" || !slices.Contains(c.words, "--save-params") ||
			!strings.HasPrefix(c.page, "DEPLOYING") {
			continue
		}
		first++
		if !slices.Contains(given, "RelayCount=0") {
			t.Errorf("%v starts a relay", c.words)
		}
		if !slices.Contains(given, "DatabaseDeletionProtection=false") {
			t.Errorf("%v cannot be rolled back: the database is protected from deletion", c.words)
		}
		if len(c.after("--config-env")) > 0 && !slices.Contains(given, "ApiLogs=existing") {
			t.Errorf("%v replaces the API log role of another stack", c.words)
		}
		for name, parameter := range read(t, root).parameters {
			if field(parameter, "Default") == nil && !slices.ContainsFunc(given, func(word string) bool {
				return strings.HasPrefix(word, name+"=")
			}) {
				t.Errorf("%v lacks %s", c.words, name)
			}
		}
	}
	if first != 3 {
		t.Errorf("%d first deployments", first)
	}
}
