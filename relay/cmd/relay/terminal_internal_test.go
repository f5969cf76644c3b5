package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestNoWordOfAnEventCommandsTheTerminal(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"order.created\tü 𝄞\n":      "order.created\tü 𝄞\n",
		"bad\x01type":               `bad\u0001type`,
		"\x1b[31mred\x1b[0m":        `\u001b[31mred\u001b[0m`,
		"over\rwritten":             `over\u000dwritten`,
		"C1 \u009b31m, DEL \x7f":    `C1 \u009b31m, DEL \u007f`,
		"no UTF-8: \xff\x9b31m end": "no UTF-8: \uFFFD\uFFFD31m end",
	} {
		var whole, bytewise bytes.Buffer
		if _, err := (&terminal{out: &whole}).Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		split := &terminal{out: &bytewise}
		for _, b := range []byte(text) {
			if _, err := split.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		if whole.String() != want || bytewise.String() != want {
			t.Errorf("%q is written as %q, and byte by byte as %q, want %q",
				text, whole.String(), bytewise.String(), want)
		}
	}
}

func TestJSONOnTheTerminalKeepsItsMeaning(t *testing.T) {
	t.Parallel()
	const want = "a\x1b[31m\u009b\x7f\r\nü"
	var written bytes.Buffer
	if err := json.NewEncoder(&terminal{out: &written}).Encode(want); err != nil {
		t.Fatal(err)
	}
	var have string
	if err := json.Unmarshal(written.Bytes(), &have); err != nil || have != want {
		t.Errorf("%s means %q (%v), want %q", written.Bytes(), have, err, want)
	}
}
