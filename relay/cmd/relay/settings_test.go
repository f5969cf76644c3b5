package main

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/leadership"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

var update = flag.Bool("update", false, "write the table of settings")

const (
	settingsPage = "../../docs/settings.md"
	tableBegin   = "|---|---|---|\n"
	tableEnd     = "<!-- end of settings -->"
)

// settingsTable returns the rows of the page, generated from the tags of the settings.
func settingsTable() string {
	var rows strings.Builder
	var walk func(reflect.Type)
	walk = func(t reflect.Type) {
		for i := range t.NumField() {
			field := t.Field(i)
			if field.Type.Kind() == reflect.Struct {
				walk(field.Type)
				continue
			}
			value := field.Tag.Get("default")
			if value != "" {
				value = "`" + value + "`"
			}
			fmt.Fprintf(&rows, "| `%s` | %s | %s |\n", field.Tag.Get("env"), value, field.Tag.Get("help"))
		}
	}
	walk(reflect.TypeFor[relaySettings]())
	return rows.String()
}

func TestPageListsEverySetting(t *testing.T) {
	text, err := os.ReadFile(settingsPage)
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "<!-- settings:")
	head, after, _ := strings.Cut(after, tableBegin)
	table, tail, found := strings.Cut(after, tableEnd)
	if !found {
		t.Fatal("the page has no table of settings between its comments")
	}
	if *update {
		before, _, _ := strings.Cut(string(text), "<!-- settings:")
		all := before + "<!-- settings:" + head + tableBegin + settingsTable() + tableEnd + tail
		if err := os.WriteFile(settingsPage, []byte(all), 0o644); err != nil { //nolint:gosec // it is a document
			t.Fatal(err)
		}
		return
	}
	if table != settingsTable() {
		t.Errorf("the page's table differs from the command; go test ./relay/cmd/relay -update writes it:\n%s",
			settingsTable())
	}
}

func TestRequestsThatTakeMoreMemoryAreFewer(t *testing.T) {
	none := func(*http.Request) (*url.URL, error) { return nil, nil }
	through := func(*http.Request) (*url.URL, error) { return &url.URL{Host: "proxy:3128"}, nil }
	for name, c := range map[string]struct {
		target
		proxyOf func(*http.Request) (*url.URL, error)
		want    int
	}{
		"own":      {target{AWSClient: "direct"}, none, 256},
		"SDK":      {target{AWSClient: "sdk"}, none, 64},
		"proxy":    {target{AWSClient: "direct"}, through, 64},
		"explicit": {target{AWSClient: "sdk", InFlight: 7}, through, 7},
	} {
		if got := (&relaySettings{target: c.target}).inFlight(c.proxyOf); got != c.want {
			t.Errorf("%s: %d requests, want %d", name, got, c.want)
		}
	}
}

func TestStartIsParsed(t *testing.T) {
	at := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]leadership.Start{
		"":                           {Mode: leadership.StartUndecided},
		"table":                      {Mode: leadership.StartTable},
		"now":                        {Mode: leadership.StartNow},
		"since:2026-01-31T00:00:00Z": {Mode: leadership.StartSince, Since: at},
	} {
		if got, err := parseStart(text, "created_at"); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"tables", "now:2026", "since", "since:", "since:yesterday", ":"} {
		if _, err := parseStart(text, "created_at"); err == nil || !strings.Contains(err.Error(), "RELAY_START") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := parseStart("since:2026-01-31T00:00:00Z", ""); err == nil {
		t.Error("since is taken without a column to compare with")
	}
}

func TestSenderTimeoutLeavesTimeForTheStandby(t *testing.T) {
	s := relaySettings{operation: operation{WALSenderTimeout: 10 * time.Second}}
	config, _ := s.config() // the error is about required settings that are missing
	if config.SenderTimeout != 9*time.Second {
		t.Errorf("wal_sender_timeout is %v, want 9s: the standby needs the rest", config.SenderTimeout)
	}
}

func TestNamesAreReadAsInSQL(t *testing.T) {
	for text, want := range map[string]string{
		"events":                `public.events`,
		"shop.events":           `shop.events`,
		`"OutboxMessages"`:      `public."OutboxMessages"`,
		`"Shop"."Outbox.Msg"`:   `"Shop"."Outbox.Msg"`,
		`shop."a ""quoted"" b"`: `shop."a ""quoted"" b"`,
	} {
		s := relaySettings{source: source{Table: text}}
		if table, _ := s.table(); table.String() != want {
			t.Errorf("RELAY_TABLE=%s is table %s, want %s", text, table, want)
		}
	}
	for _, text := range []string{
		"", ".", "a.", ".a", "OutboxMessages", "a.b.c", `"a`, `"a"b`, `""`, "1a", "a b",
		"a;b", "a\x00", strings.Repeat("a", 64),
	} {
		if schema, name, err := parseTableName("RELAY_TABLE", text); err == nil ||
			!strings.Contains(err.Error(), "RELAY_TABLE") {
			t.Errorf("RELAY_TABLE=%q is table %q.%q, %v", text, schema, name, err)
		}
	}
}

func TestTheTenantMayBeAColumn(t *testing.T) {
	for text, want := range map[string][]string{
		"aggregate": {""}, "none": {""}, "header:tenant": {""},
		"column:tenant": {"tenant"}, `column:"TenantId"`: {"TenantId"}, `column:tenant,"A,B"`: {"tenant", "A,B"},
	} {
		s := relaySettings{source: source{Table: "events"}, target: target{Tenant: text}}
		config, _ := s.config() // the error is about the other settings, which are missing
		names := config.Table.Alternatives[outboxtable.SettingTenant]
		if config.Table.Columns.Tenant != want[0] || len(want) > 1 && !slices.Equal(names, want) {
			t.Errorf("RELAY_TENANT=%s is column %q of %q, want %q", text, config.Table.Columns.Tenant, names, want)
		}
	}
	for _, text := range []string{"column:", "column:TenantId", `column:"a`, "column:a.b", "column:a,"} {
		s := relaySettings{source: source{Table: "events"}, target: target{Tenant: text}}
		if _, err := s.config(); err == nil || !strings.Contains(err.Error(), "RELAY_TENANT") {
			t.Errorf("RELAY_TENANT=%s: %v", text, err)
		}
	}
}

func TestEmptyColumnsAreOptionalOrNamed(t *testing.T) {
	s := relaySettings{source: source{Table: "events"}}
	_, problems := s.table()
	all := errors.Join(problems...).Error()
	for setting, needed := range map[string]bool{
		"RELAY_COLUMN_ID": true, "RELAY_COLUMN_SEQUENCE": false, "RELAY_COLUMN_XID": false,
		"RELAY_COLUMN_EVENT_TYPE": false, "RELAY_COLUMN_PAYLOAD": true, "RELAY_COLUMN_AGGREGATE_TYPE": false,
		"RELAY_COLUMN_AGGREGATE_ID": false, "RELAY_COLUMN_HEADERS": false, "RELAY_COLUMN_CREATED_AT": false,
	} {
		if named := strings.Contains(all, setting+" is empty, and the relay needs this column"); named != needed {
			t.Errorf("%s: named %v, want %v: %s", setting, named, needed, all)
		}
	}
}

// Metrics and readiness name ARNs and hosts, so a relay outside a container serves them on loopback
// only. The image has a network of its own, whose ports are private until they are published.
func TestProbesListenOnLoopbackByDefault(t *testing.T) {
	image, err := os.ReadFile("../../../infra/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(image), "\nENV RELAY_LISTEN=:9464\n") {
		t.Error("the image serves no other container")
	}
	for command, settings := range map[string]reflect.Type{
		"run": reflect.TypeFor[operation](), "healthcheck": reflect.TypeFor[healthcheckCommand](),
	} {
		field, _ := settings.FieldByName("Listen")
		if address := field.Tag.Get("default"); address != "127.0.0.1:9464" {
			t.Errorf("relay %s uses %s by default", command, address)
		}
	}
}

// TestABusRefusesNoEventForItsSettings: EventBridge would refuse every event for them.
func TestABusRefusesNoEventForItsSettings(t *testing.T) {
	t.Parallel()
	for want, target := range map[string]target{
		`RELAY_EVENTBRIDGE_SOURCE ""`:   {},
		"begin with aws.":               {BusSource: "aws.events"},
		"write 1 to 256 characters":     {BusSource: strings.Repeat("s", 257)},
		"RELAY_EVENTBRIDGE_DETAIL_TYPE": {BusSource: "shop", BusType: strings.Repeat("t", 129)},
	} {
		s := relaySettings{source: source{Table: "events"}, target: target}
		if _, err := s.config(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error that says %q", err, want)
		}
	}
	s := relaySettings{source: source{Table: "events"}, target: target{BusSource: strings.Repeat("ü", 256)}}
	if _, err := s.config(); err != nil && strings.Contains(err.Error(), "EVENTBRIDGE") {
		t.Error(err)
	}
}
