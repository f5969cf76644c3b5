package main

import (
	"reflect"
	"testing"
)

// A command is parsed alone as it is parsed among all commands.
func TestCommandAloneHasTheSameHelp(t *testing.T) {
	t.Parallel()
	all := reflect.TypeFor[commands]()
	found := 0
	for i := range all.NumField() {
		if _, isCommand := all.Field(i).Tag.Lookup("cmd"); !isCommand {
			continue
		}
		found++
		args := []string{commandName(all.Field(i)), "--help"}
		alone := grammarOf(args)
		if fields := reflect.TypeOf(alone).Elem().NumField(); fields != 2 {
			t.Errorf("%s is parsed with %d fields, want the command and --version", args[0], fields)
		}
		help, code := exitWith(t, alone, args...)
		if want, wantCode := exitWith(t, &commands{}, args...); help != want || code != wantCode {
			t.Errorf("help of %s alone, exit code %d:\n%s\namong all, exit code %d:\n%s",
				args[0], code, help, wantCode, want)
		}
	}
	if found < 13 {
		t.Errorf("there are %d commands", found)
	}
}

func TestUnknownCommandIsParsedAmongAll(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		nil, {"--help"}, {"rum"}, {"--version", "run"}, {"print-version"}, {"printversion"},
	} {
		if _, all := grammarOf(args).(*commands); !all {
			t.Errorf("%q is parsed as one command", args)
		}
	}
}
