package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

func TestBothPartsAreMigratedAndTold(t *testing.T) {
	t.Parallel()
	url := pgtest.NewDatabase(t)
	for _, want := range []string{
		"outbox schema: version 1, was 0\norders schema: version 1, was 0\n",
		"outbox schema: version 1, was 1\norders schema: version 1, was 1\n",
	} {
		var out bytes.Buffer
		err := run(t.Context(), func(name string) string { return map[string]string{"DATABASE_URL": url}[name] }, &out)
		if err != nil || out.String() != want {
			t.Errorf("printed %q, want %q: %v", out.String(), want, err)
		}
	}
}

func TestMissingSettingIsNamed(t *testing.T) {
	t.Parallel()
	err := run(t.Context(), func(string) string { return "" }, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "DATABASE_URL") {
		t.Errorf("error %v", err)
	}
}
