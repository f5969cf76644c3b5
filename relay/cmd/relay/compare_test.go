package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// compareFiles runs relay compare on files with these contents.
func compareFiles(t *testing.T, first, second string, flags ...string) (output string, err error) {
	t.Helper()
	t.Chdir(t.TempDir())
	args := []string{"compare", "polled", "relayed"}
	for i, text := range []string{first, second} {
		if err := os.WriteFile(args[i+1], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	err = run(t.Context(), append(args, flags...), &out)
	return out.String(), err
}

func TestCompareNamesEachDifference(t *testing.T) {
	output, err := compareFiles(t, "a\t1\nb\t1\nb\t1\nc\t1\nd\n", "x\na\t1\nc\t1\nb\t1\ne\nd\n")
	if err == nil || !strings.Contains(err.Error(), "do not agree") {
		t.Errorf("error %v", err)
	}
	const want = `                                 polled  relayed
events                           4       6
in both                          4       4
repeated deliveries              1       0
alone, before the first of both  0       1
alone, after the last of both    0       0
alone, between                   0       1
only in relayed: e
aggregate 1: b is before c in polled, and after it in relayed
`
	if output != want {
		t.Errorf("printed\n%s\nwant\n%s", output, want)
	}
}

func TestCompareAgreesBeyondTheEnds(t *testing.T) {
	output, err := compareFiles(t, "a\nb\nc\n", "b\nc\nd\n", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var form compareForm
	if err := json.Unmarshal([]byte(output), &form); err != nil {
		t.Fatal(err)
	}
	if form.Version != formatVersion || !form.Agrees || form.Both != 2 || form.First.Before != 1 ||
		form.Second.After != 1 {
		t.Errorf("printed %s", output)
	}
}

func TestCompareSaysWhichFileItCannotRead(t *testing.T) {
	if _, err := compareFiles(t, "a\tb\tc\n", ""); err == nil || !strings.Contains(err.Error(), "polled: line 1") {
		t.Errorf("error %v", err)
	}
	err := run(t.Context(), []string{"compare", "does-not-exist", "-"}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "does-not-exist") {
		t.Errorf("error %v", err)
	}
}
