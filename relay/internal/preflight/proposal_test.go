package preflight_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// TestCheckProposesTheSettingsOfATable: with the proposed settings, only guarantees may be missing.
func TestCheckProposesTheSettingsOfATable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ddl      string
		settings string
		unread   string
		columns  outboxtable.Columns
	}{
		"plain": {
			`CREATE TABLE ev (no uuid PRIMARY KEY, body jsonb, region text)`,
			"RELAY_TABLE=public.ev RELAY_COLUMN_XID= RELAY_COLUMN_SEQUENCE= RELAY_COLUMN_ID=no " +
				"RELAY_COLUMN_PAYLOAD=body RELAY_COLUMN_HEADERS= RELAY_COLUMN_CREATED_AT= " +
				"RELAY_COLUMN_AGGREGATE_TYPE= RELAY_COLUMN_AGGREGATE_ID= RELAY_COLUMN_EVENT_TYPE= relay check",
			"not read: region.",
			outboxtable.Columns{ID: "no", Payload: "body"},
		},
		"capitals": {
			`CREATE TABLE ev ("Id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "Type" text, "Content" text,
				"OccurredOnUtc" timestamptz, "ProcessedOnUtc" timestamptz, "Error" text)`,
			`RELAY_TABLE=public.ev RELAY_COLUMN_XID= RELAY_COLUMN_SEQUENCE='"Id"' RELAY_COLUMN_ID='"Id"' ` +
				`RELAY_COLUMN_PAYLOAD='"Content"' RELAY_COLUMN_HEADERS= RELAY_COLUMN_CREATED_AT='"OccurredOnUtc"' ` +
				`RELAY_COLUMN_AGGREGATE_TYPE= RELAY_COLUMN_AGGREGATE_ID= RELAY_COLUMN_EVENT_TYPE='"Type"' relay check`,
			`not read: "Error", "ProcessedOnUtc".`,
			outboxtable.Columns{
				ID: "Id", Sequence: "Id", Payload: "Content", CreatedAt: "OccurredOnUtc", EventType: "Type",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newTestEnv(t)
			e.exec(`DROP TABLE ev; ` + c.ddl + `; ALTER PUBLICATION outbox_pub ADD TABLE ev`)
			var statement, text string
			for _, f := range e.check() {
				text += f.Explanation + "\n"
				if f.Code == preflight.CodeProposal && f.Statement != "" {
					statement = f.Statement
				}
			}
			if statement != c.settings {
				t.Errorf("proposed\n%s, want\n%s", statement, c.settings)
			}
			for _, words := range []string{c.unread, "retention, replay: table public.ev has no"} {
				if !strings.Contains(text, words) {
					t.Errorf("the findings do not say %q:\n%s", words, text)
				}
			}
			e.Table.Columns = c.columns
			missing := []preflight.Code{preflight.CodeGuarantees, preflight.CodeID} // a numbered id
			for _, f := range e.check() {
				if f.Level == preflight.Error || f.Level == preflight.Degraded && !slices.Contains(missing, f.Code) {
					t.Errorf("%s %s: %s", f.Level, f.Code, f)
				}
			}
		})
	}
}

func TestAProposalWithoutAnIDSaysSo(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.exec(`DROP TABLE ev; CREATE TABLE ev (tenant text, no int, body json, PRIMARY KEY (tenant, no));
		ALTER PUBLICATION outbox_pub ADD TABLE ev`)
	for _, f := range e.check() {
		if f.Code == preflight.CodeProposal && f.Statement != "" &&
			!strings.Contains(f.Explanation, "once you complete RELAY_COLUMN_ID:") {
			t.Errorf("proposed with %q", f.Explanation)
		}
	}
}

// TestASecondTableGetsASlotOfItsOwn: the default slot and publication are those of the first table.
func TestASecondTableGetsASlotOfItsOwn(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.exec(`CREATE TABLE "OutboxEvent" (no uuid PRIMARY KEY, body jsonb);
		INSERT INTO relay_checkpoints (slot_name, outbox_table, epoch, system_identifier)
		VALUES ('relay_check', 'public.ev', 1, 'x')`)
	e.Table.Name = "OutboxEvent"
	statements := map[preflight.Code]string{}
	for _, f := range e.check() {
		if f.Statement != "" {
			statements[f.Code] += f.Statement
		}
	}
	const settings = " RELAY_SLOT=outbox_outboxevent RELAY_PUBLICATION=outboxevent_pub relay check"
	if !strings.HasSuffix(statements[preflight.CodeProposal], settings) {
		t.Errorf("proposed %s", statements[preflight.CodeProposal])
	}
	if statements[preflight.CodeSlot] != "RELAY_SLOT=outbox_outboxevent" {
		t.Errorf("the slot: %s", statements[preflight.CodeSlot])
	}
	e.exec(statements[preflight.CodePublication])
	e.Slot, e.Publication = "outbox_outboxevent", "outboxevent_pub"
	e.Table.Columns = outboxtable.Columns{ID: "no", Payload: "body"}
	if err := e.check().Err(); err != nil {
		t.Errorf("with the settings and the publication: %v", err)
	}
}
