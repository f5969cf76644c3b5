package main

import (
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/span"
)

// TestEstimateIsSteadyUnderBursts: 500 events in every fifth second, which is 100 a second.
func TestEstimateIsSteadyUnderBursts(t *testing.T) {
	t.Parallel()
	var p pace
	const all = 60_000
	began := time.Now()
	for second := range 300 {
		done := int64(second/5) * 500
		p.add(began.Add(time.Duration(second)*time.Second), done)
		text := p.describe(all - done)
		if second < 20 {
			continue
		}
		_, estimate, ok := strings.Cut(text, "about ")
		left, err := span.Parse(estimate)
		want := time.Duration(all-done) * time.Second / 100
		if off := float64(left) / float64(want); !ok || err != nil || off < 0.75 || off > 1.35 {
			t.Fatalf("after %d s it says %s, want about %v", second, text, want)
		}
	}
}

func TestNoEstimateBeforeThePaceIsKnown(t *testing.T) {
	t.Parallel()
	var p pace
	now := time.Now()
	if text := p.describe(10); text != "0 a second, 10 left" {
		t.Errorf("without a sample: %s", text)
	}
	p.add(now, 0)
	p.add(now.Add(2*time.Second), 200)
	if text := p.describe(10); text != "100 a second, 10 left" {
		t.Errorf("after two seconds: %s", text)
	}
}
