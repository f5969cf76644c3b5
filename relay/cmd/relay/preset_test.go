package main

import (
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

func TestPresetsHaveSettingsThatExist(t *testing.T) {
	names := settingNames(reflect.TypeFor[source]())
	names = append(names, settingNames(reflect.TypeFor[target]())...)
	field, _ := reflect.TypeFor[source]().FieldByName("Preset")
	choices := strings.Split(field.Tag.Get("enum"), ",")
	for _, preset := range outboxtable.Presets {
		if !slices.Contains(choices, preset.Name) {
			t.Errorf("RELAY_PRESET does not accept %s", preset.Name)
		}
		for setting := range preset.Settings {
			if !slices.Contains(names, setting) {
				t.Errorf("preset %s has %s, which is no setting", preset.Name, setting)
			}
		}
	}
	if len(choices) != len(outboxtable.Presets)+1 {
		t.Errorf("RELAY_PRESET accepts %q", choices)
	}
}

// parseCheck returns the settings of relay check.
func parseCheck(t *testing.T, args ...string) *relaySettings {
	t.Helper()
	var all commands
	parser, err := newParser(t.Context(), io.Discard, &all)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(append([]string{"check"}, args...)); err != nil {
		t.Fatal(err)
	}
	return &all.Check.relaySettings
}

func TestSettingsTakePrecedenceOverAPreset(t *testing.T) {
	t.Setenv("RELAY_PRESET", "masstransit")
	t.Setenv("RELAY_COLUMN_PAYLOAD", "payload") // the default of the relay
	t.Setenv("RELAY_COLUMN_HEADERS", "")
	s := parseCheck(t, `--column-xid=xid`, `--attribute-names=`)
	table, problems := s.table()
	if c := table.Columns; len(problems) > 0 || table.String() != `public."OutboxMessage"` || c.ID != "MessageId" ||
		c.Payload != "payload" || c.Headers != "" || c.XID != "xid" || c.AggregateID != "" ||
		s.Attributes != "" || s.IDUnique != "assert" || len(table.OrderKey) != 3 || len(table.Attributes) != 4 {
		t.Errorf("%+v, %v, %+v", table, problems, s)
	}
	s = parseCheck(t, "--preset=debezium")
	if table, _ := s.table(); table.String() != "public.outboxevent" || table.Columns.AggregateID != "aggregateid" ||
		s.Attributes != "event_id=id,event_type=eventType" {
		t.Errorf("%+v, %+v", table, s)
	}
}

func TestEveryPresetIsAValidDescription(t *testing.T) {
	for _, preset := range outboxtable.Presets {
		args := []string{"--preset=" + preset.Name, "--destination=arn:aws:sns:eu-central-1:123456789012:a.fifo"}
		if preset.Example != "" {
			args = append(args, "--table="+preset.Example)
		}
		if _, err := parseCheck(t, args...).config(); err != nil {
			t.Errorf("preset %s: %v", preset.Name, err)
		}
	}
}

// The default table of the relay is none of a project with a table for each topic.
func TestAPresetOfManyTablesNeedsTheirName(t *testing.T) {
	_, problems := parseCheck(t, "--preset=watermill").table()
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), "RELAY_TABLE=public.watermill_orders") {
		t.Errorf("without RELAY_TABLE: %v", problems)
	}
}
