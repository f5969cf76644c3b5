package infra_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestTemplatesPassOnlyExistingRelaySettings(t *testing.T) {
	t.Parallel()
	// a test of relay/cmd/relay compares this table with the command
	page, err := os.ReadFile("../relay/docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	_, env := container(t)
	for name := range env {
		if !strings.Contains(string(page), "\n| `"+name+"` |") && name != "PGUSER" {
			t.Errorf("relay run has no setting %s", name)
		}
	}
	if len(env) < 10 {
		t.Errorf("settings %v", env)
	}
}

const (
	ofTheTable = "the table that relay migrate creates needs no other value"
	ofTheBox   = "relay.yaml decides it: its health check, its log driver or its memory depend on the value"
	ofNoStack  = "the default is right for the destinations of AWS"
)

// notParameters are the settings that relay.yaml does not pass, and why. A team that needs one of
// them writes it into the task definition of ecs/ or the manifest of kubernetes/.
var notParameters = map[string]string{
	"RELAY_PRESET": ofTheTable, "RELAY_ID_UNIQUE": ofTheTable, "RELAY_ROWS_STAY": ofTheTable,
	"RELAY_ROW_FILTER": ofTheTable, "RELAY_COLUMN_ID": ofTheTable, "RELAY_COLUMN_SEQUENCE": ofTheTable,
	"RELAY_COLUMN_XID": ofTheTable, "RELAY_COLUMN_AGGREGATE_TYPE": ofTheTable,
	"RELAY_COLUMN_AGGREGATE_ID": ofTheTable, "RELAY_COLUMN_EVENT_TYPE": ofTheTable,
	"RELAY_COLUMN_PAYLOAD": ofTheTable, "RELAY_COLUMN_HEADERS": ofTheTable,
	"RELAY_COLUMN_CREATED_AT": ofTheTable, "RELAY_PAYLOAD_BYTES": ofTheTable,
	"RELAY_ATTRIBUTE_COLUMNS":       ofTheTable,
	"RELAY_MAX_DESTINATIONS":        "the parameter TopicArns has at most 4,096 bytes, which hold fewer ARNs",
	"RELAY_HEADERS":                 "all headers become attributes, as consumers of this repository expect",
	"RELAY_ATTRIBUTE_NAMES":         "the consumers of this repository read the relay's own names",
	"RELAY_EVENTBRIDGE_DETAIL_TYPE": "rules select events by their type, which is the default",
	"RELAY_GROUP_BATCHES":           "it trades order for speed, which a stack with a FIFO topic does not want",
	"RELAY_ON_REJECTED":             "the default keeps the order of a FIFO destination",
	"RELAY_ON_SLOT_LOSS":            "RUNBOOKS.md describes recover, the default",
	"RELAY_AUDIT":                   "it costs little, and finds rows that the slot did not bring",
	"RELAY_REQUEST_TIMEOUT":         ofNoStack, "RELAY_AWS_CLIENT": ofNoStack, "RELAY_RETRY_MAX": ofNoStack,
	"RELAY_WAL_SENDER_TIMEOUT": ofNoStack,
	"RELAY_WINDOW_EVENTS":      ofTheBox, "RELAY_WINDOW_BYTES": ofTheBox, "RELAY_LISTEN": ofTheBox,
	"RELAY_LOG_FORMAT": ofTheBox,
}

// Each new setting is a parameter of relay.yaml, or has its reason above.
func TestEachSettingIsAParameterOrHasAReason(t *testing.T) {
	t.Parallel()
	_, env := container(t)
	known := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(
		readFile(t, "../relay/docs/settings.md"), -1) {
		setting := row[1]
		known[setting] = true
		if (env[setting] == nil) != (notParameters[setting] != "") {
			t.Errorf("%s has to be set in relay.yaml, or to have its reason in notParameters: %v there, reason %q",
				setting, env[setting], notParameters[setting])
		}
	}
	for setting := range notParameters {
		if !known[setting] {
			t.Errorf("the exception %s is no setting", setting)
		}
	}
	if len(known) < 50 {
		t.Errorf("%d settings", len(known))
	}
}

func TestTemplatesPassOnlyExistingFunctionSettings(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../functions/internal/settings/settings.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(root)
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^ +((?:DATABASE|LOG|PG)[A-Z_]*): `).FindAllStringSubmatch(string(text), -1)
	if len(names) < 5 {
		t.Fatalf("settings %v", names)
	}
	for _, name := range names {
		if !strings.Contains(string(source), strconv.Quote(name[1])) && name[1] != "PGUSER" {
			t.Errorf("the functions have no setting %s", name[1])
		}
	}
}
