package main

import (
	"strings"
	"testing"
)

const lostEvent = `{"history":{"version":1}}
{"destination":{"name":"orders"}}
{"event":{"id":"a","outcome":"committed","destination":"orders"}}
{"row":{"id":"a","seq":1}}
`

func TestVerdictNamesTheLostEvent(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	intact, err := printVerdict(&out, "h.jsonl", strings.NewReader(lostEvent))
	if err != nil || intact {
		t.Fatalf("intact %v, %v", intact, err)
	}
	if got := out.String(); !strings.Contains(got, "h.jsonl: 1 committed events, 0 receipts") ||
		!strings.Contains(got, "lost: event a") {
		t.Errorf("the verdict is:\n%s", got)
	}
}

func TestVerdictOfAnIntactHistory(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	receipt := `{"receipt":{"destination":"orders","at":5,"event_id":"a","sequence":"1"}}`
	intact, err := printVerdict(&out, "h.jsonl", strings.NewReader(lostEvent+receipt))
	if err != nil || !intact || !strings.Contains(out.String(), "0 violations") {
		t.Errorf("intact %v, %v:\n%s", intact, err, out.String())
	}
}
