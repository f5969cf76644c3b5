package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

func TestBothPartsAreMigratedAndTold(t *testing.T) {
	t.Parallel()
	url := pgtest.NewDatabase(t)
	var out bytes.Buffer
	for range 2 {
		if err := run(t.Context(), func(name string) string { return map[string]string{"DATABASE_URL": url}[name] }, &out); err != nil {
			t.Fatal(err)
		}
	}
	printed := regexp.MustCompile(`^outbox schema: version (\d+), was 0
orders schema: version (\d+), was 0
outbox schema: version (\d+), was (\d+)
orders schema: version (\d+), was (\d+)
$`).FindStringSubmatch(out.String())
	if printed == nil || printed[3] != printed[1] || printed[4] != printed[1] || printed[5] != printed[2] || printed[6] != printed[2] {
		t.Errorf("printed %s", &out)
	}
}

func TestMissingSettingIsNamed(t *testing.T) {
	t.Parallel()
	err := run(t.Context(), func(string) string { return "" }, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "DATABASE_URL") {
		t.Errorf("error %v", err)
	}
}
