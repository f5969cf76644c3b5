package main

import (
	"slices"
	"strings"
	"testing"
)

func TestAFieldMayBeAConstant(t *testing.T) {
	for text, want := range map[string]string{`'order.created'`: `order.created`, `'it''s'`: `it's`, `'a"b'`: `a"b`} {
		s := relaySettings{source: source{ColumnID: "id", ColumnPayload: "payload", ColumnEventType: text}}
		table, _ := s.table()
		if table.Constants.EventType != want || table.Columns.EventType != "" {
			t.Errorf("%s is %+v", text, table)
		}
	}
	for _, text := range []string{`'`, `''`, `'a`, `'a'b'`, `'''`, "'a\x00'"} {
		s := relaySettings{source: source{Table: "t", ColumnID: "id", ColumnPayload: "payload", ColumnEventType: text}}
		if _, problems := s.table(); len(problems) != 1 ||
			!strings.Contains(problems[0].Error(), "RELAY_COLUMN_EVENT_TYPE") {
			t.Errorf("%q: %v", text, problems)
		}
	}
	s := relaySettings{source: source{Table: "t", ColumnID: "'id'", ColumnPayload: "payload"}}
	if _, problems := s.table(); len(problems) != 1 {
		t.Errorf("a constant id: %v", problems)
	}
}

func TestTheOrderKeyIsAListOfColumns(t *testing.T) {
	s := relaySettings{source: source{
		Table: "t", ColumnID: "id", ColumnPayload: "payload", OrderKey: `region, "Shop,1"|store, region`,
	}}
	table, problems := s.table()
	if len(problems) > 0 || !slices.Equal(table.OrderKey, []int{0, 1, 0}) || len(table.Extra) != 2 ||
		table.Extra[1].Column != "Shop,1" || !slices.Equal(table.Extra[1].Alternatives, []string{"Shop,1", "store"}) {
		t.Errorf("%+v, %v", table, problems)
	}
	s.OrderKey = `region,"Shop`
	if _, problems := s.table(); len(problems) != 1 || !strings.Contains(problems[0].Error(), "RELAY_ORDER_KEY") {
		t.Errorf("%v", problems)
	}
}
