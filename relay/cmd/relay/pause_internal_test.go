package main

import (
	"strings"
	"testing"
)

func TestADestinationIsFoundByItsName(t *testing.T) {
	t.Parallel()
	const first, second = "arn:aws:sqs:eu-central-1:1:orders.fifo", "arn:aws:sqs:eu-west-1:1:orders.fifo"
	const topic = "arn:aws:sns:eu-central-1:1:billing"
	for _, c := range []struct {
		wanted       string
		known        []string
		found, fails string
	}{
		{wanted: first, known: []string{second, first, topic}, found: first},
		{wanted: "billing", known: []string{first, topic, topic}, found: topic},
		{wanted: "https://sqs.eu-central-1.amazonaws.com/1/orders.fifo", known: []string{first, topic}, found: first},
		{wanted: "orders.fifo", known: []string{first, second}, fails: "several destinations"},
		{wanted: "orders", known: []string{first, topic}, fails: topic + ", " + first},
		{wanted: topic, found: topic},
		{wanted: "billing", fails: "by its ARN"},
	} {
		found, err := findDestination(c.wanted, "s", c.known)
		failed := err != nil && strings.Contains(err.Error(), c.fails)
		if found != c.found || failed != (c.fails != "") || err != nil && !failed {
			t.Errorf("%s of %v: %q, %v", c.wanted, c.known, found, err)
		}
	}
}
