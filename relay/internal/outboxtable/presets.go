package outboxtable

// Preset is the description of the outbox table of a project, in the relay's settings. Nothing else
// in the relay knows of the project.
type Preset struct {
	Name     string // in RELAY_PRESET
	Project  string // with the versions whose table it is
	Settings map[string]string
	// Example is a table of a project that has several, of which the operator names one in
	// RELAY_TABLE. Empty: Settings has the table.
	Example string
}

// Presets are all of them. relay/docs/presets.md has a section on each.
var Presets = []Preset{
	{Name: "debezium", Project: "the outbox event router of Debezium 2 and 3", Settings: map[string]string{
		"RELAY_TABLE":                 "public.outboxevent",
		"RELAY_COLUMN_AGGREGATE_TYPE": "aggregatetype",
		"RELAY_COLUMN_AGGREGATE_ID":   "aggregateid",
		"RELAY_COLUMN_EVENT_TYPE":     "type",
		"RELAY_COLUMN_SEQUENCE":       "",
		"RELAY_COLUMN_XID":            "",
		"RELAY_COLUMN_HEADERS":        "",
		"RELAY_COLUMN_CREATED_AT":     "",
		"RELAY_ATTRIBUTE_NAMES":       "event_id=id,event_type=eventType",
		"RELAY_ROWS_STAY":             "deny",
	}},
	{Name: "quarkus", Project: "the extension debezium-quarkus-outbox 2 and 3", Settings: map[string]string{
		"RELAY_TABLE":                 "public.outboxevent",
		"RELAY_COLUMN_AGGREGATE_TYPE": "aggregatetype",
		"RELAY_COLUMN_AGGREGATE_ID":   "aggregateid",
		"RELAY_COLUMN_EVENT_TYPE":     "type",
		"RELAY_COLUMN_CREATED_AT":     "timestamp",
		"RELAY_COLUMN_SEQUENCE":       "",
		"RELAY_COLUMN_XID":            "",
		"RELAY_COLUMN_HEADERS":        "",
		"RELAY_ATTRIBUTE_NAMES":       "event_id=id,event_type=eventType",
		"RELAY_ROWS_STAY":             "deny",
	}},
	{Name: "masstransit", Project: "the Entity Framework Core outbox of MassTransit 8", Settings: map[string]string{
		"RELAY_TABLE":                 `public."OutboxMessage"`,
		"RELAY_COLUMN_ID":             `"MessageId"`,
		"RELAY_ID_UNIQUE":             "assert", // a NewId for each message
		"RELAY_COLUMN_SEQUENCE":       `"SequenceNumber"`,
		"RELAY_COLUMN_XID":            "",
		"RELAY_COLUMN_AGGREGATE_TYPE": "",
		"RELAY_COLUMN_AGGREGATE_ID":   "",
		"RELAY_ORDER_KEY":             `"OutboxId","InboxMessageId","InboxConsumerId"`, // as its own delivery does
		"RELAY_COLUMN_EVENT_TYPE":     `"MessageType"`,
		"RELAY_COLUMN_PAYLOAD":        `"Body"`,
		"RELAY_COLUMN_HEADERS":        `"Headers"`,
		"RELAY_COLUMN_CREATED_AT":     `"SentTime"`,
		"RELAY_ATTRIBUTE_NAMES":       "aggregate_type=none,aggregate_id=none",
		"RELAY_ATTRIBUTE_COLUMNS": `contentType="ContentType",conversationId="ConversationId",` +
			`correlationId="CorrelationId",destinationAddress="DestinationAddress"`,
	}},
	{Name: "watermill", Project: "the default PostgreSQL schema of watermill-sql 3 and 4", Settings: map[string]string{
		"RELAY_COLUMN_ID":             "uuid",
		"RELAY_ID_UNIQUE":             "assert", // a UUID for each message
		"RELAY_COLUMN_SEQUENCE":       "offset",
		"RELAY_COLUMN_XID":            "transaction_id",
		"RELAY_COLUMN_AGGREGATE_TYPE": "",
		"RELAY_COLUMN_AGGREGATE_ID":   "",
		"RELAY_COLUMN_EVENT_TYPE":     "",
		"RELAY_COLUMN_HEADERS":        "metadata",
	}, Example: "public.watermill_orders"},
}

// PresetOf returns the preset with this name, or a preset without settings.
func PresetOf(name string) Preset {
	for _, preset := range Presets {
		if preset.Name == name {
			return preset
		}
	}
	return Preset{}
}
