package chaos

import "strings"

// own is the table that relay migrate creates.
const own = ""

// shapes are all of them. The first is the relay's own. The promises for the others are in
// relay/docs/table.md and relay/docs/presets.md.
var shapes = []shape{
	{
		name: own, table: "outbox_events", repairs: true, routes: byAggregateType, insert: insertOwn,
		columns: ownColumns,
	},
	{
		name: "routed by a column", table: "outbox_events", repairs: true, routes: byColumn, columns: ownColumns,
		create: `ALTER TABLE outbox_events ADD COLUMN topic text`,
		insert: `INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, topic)
			VALUES (@id, @kind, @aggregate, @type, @payload::text::json, @topic)`,
	},
	{
		name: "quoted names", table: `"OutboxMessages"`, repairs: true, routes: byAggregateType,
		create: `CREATE TABLE "OutboxMessages" ("Id" uuid PRIMARY KEY, "Seq" bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
			"Xid" xid8 NOT NULL DEFAULT pg_current_xact_id(), "Kind" text NOT NULL, "AggregateId" text NOT NULL,
			"EventType" text NOT NULL, "Payload" text NOT NULL,
			"CreatedAt" timestamptz NOT NULL DEFAULT clock_timestamp());
			CREATE INDEX ON "OutboxMessages" ("Xid")`,
		settings: []string{
			`RELAY_TABLE="OutboxMessages"`, `RELAY_COLUMN_ID="Id"`, `RELAY_COLUMN_SEQUENCE="Seq"`,
			`RELAY_COLUMN_XID="Xid"`, `RELAY_COLUMN_AGGREGATE_TYPE="Kind"`, `RELAY_COLUMN_AGGREGATE_ID="AggregateId"`,
			`RELAY_COLUMN_EVENT_TYPE="EventType"`, `RELAY_COLUMN_PAYLOAD="Payload"`, `RELAY_COLUMN_HEADERS=`,
			`RELAY_COLUMN_CREATED_AT="CreatedAt"`,
		},
		insert: `INSERT INTO "OutboxMessages" ("Id", "Kind", "AggregateId", "EventType", "Payload")
			VALUES (@id, @kind, @aggregate, @type, @payload)`,
		columns: columns{
			id: `"Id"`, seq: `"Seq"`, xid: `"Xid"`, payload: `"Payload"`, created: `"CreatedAt"`, kind: `"Kind"`,
			aggregate: `"AggregateId"`,
		},
	},
	{
		name: "ordered by two columns", table: "journal", repairs: true,
		create: `CREATE TABLE journal (id uuid PRIMARY KEY, seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
			xid xid8 NOT NULL DEFAULT pg_current_xact_id(), tenant text, account text, kind text, body text NOT NULL,
			created_at timestamptz NOT NULL DEFAULT clock_timestamp());
			CREATE INDEX ON journal (xid)`,
		settings: []string{
			"RELAY_TABLE=journal", "RELAY_ORDER_KEY=tenant,account", "RELAY_COLUMN_AGGREGATE_TYPE=",
			"RELAY_COLUMN_AGGREGATE_ID=", "RELAY_COLUMN_EVENT_TYPE=kind", "RELAY_COLUMN_PAYLOAD=body",
			"RELAY_COLUMN_HEADERS=",
		},
		insert: `INSERT INTO journal (id, tenant, account, kind, body)
			VALUES (@id, @kind, @aggregate, @type, @payload)`,
		columns:    columns{id: "id", seq: "seq", xid: "xid", payload: "body", created: "created_at"},
		attributes: map[string]string{"aggregate_type": "", "aggregate_id": ""},
	},
	{
		name: "id and payload", table: "plain", unordered: true,
		create: `CREATE TABLE plain (id uuid PRIMARY KEY, payload text)`,
		settings: []string{
			"RELAY_TABLE=plain", "RELAY_COLUMN_SEQUENCE=", "RELAY_COLUMN_XID=", "RELAY_COLUMN_AGGREGATE_TYPE=",
			"RELAY_COLUMN_AGGREGATE_ID=", "RELAY_COLUMN_EVENT_TYPE=", "RELAY_COLUMN_HEADERS=",
			"RELAY_COLUMN_CREATED_AT=",
		},
		insert:     `INSERT INTO plain VALUES (@id, @payload)`,
		columns:    columns{id: "id", payload: "payload"},
		attributes: map[string]string{"event_type": "", "aggregate_type": "", "aggregate_id": "", "sequence": ""},
	},
	{
		name: "debezium", table: "outboxevent", deletes: true, routes: byAggregateType, jsonb: true,
		create: `CREATE TABLE outboxevent (id uuid NOT NULL PRIMARY KEY, aggregatetype varchar(255) NOT NULL,
			aggregateid varchar(255) NOT NULL, type varchar(255) NOT NULL, payload jsonb)`,
		settings:   []string{"RELAY_PRESET=debezium"},
		insert:     `INSERT INTO outboxevent VALUES (@id, @kind, @aggregate, @type, @payload::text::jsonb)`,
		columns:    columns{id: "id", payload: "payload"},
		attributes: map[string]string{"event_id": "id", "event_type": "eventType", "sequence": ""},
	},
	{
		name: "quarkus", table: "outboxevent", deletes: true, routes: byAggregateType,
		create: `CREATE TABLE OutboxEvent (id uuid NOT NULL, aggregatetype varchar(255) NOT NULL,
			aggregateid varchar(255) NOT NULL, type varchar(255) NOT NULL,
			timestamp timestamp(6) with time zone NOT NULL,
			payload text, tracingspancontext varchar(256), PRIMARY KEY (id))`,
		settings:   []string{"RELAY_PRESET=quarkus"},
		insert:     `INSERT INTO OutboxEvent VALUES (@id, @kind, @aggregate, @type, now(), @payload)`,
		columns:    columns{id: "id", payload: "payload"},
		attributes: map[string]string{"event_id": "id", "event_type": "eventType", "sequence": ""},
	},
	severalTables(),
	massTransit("masstransit", false),
	massTransit("masstransit with a transaction id", true),
	{
		name: "watermill", table: "watermill_orders", repairs: true, keepsNone: true, unordered: true,
		create: `CREATE TABLE watermill_orders ("offset" BIGSERIAL, "uuid" VARCHAR(36) NOT NULL,
			"created_at" TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, "payload" JSON DEFAULT NULL,
			"metadata" JSON DEFAULT NULL, "transaction_id" xid8 NOT NULL, PRIMARY KEY ("transaction_id", "offset"))`,
		settings: []string{"RELAY_PRESET=watermill", "RELAY_TABLE=public.watermill_orders"},
		insert: `INSERT INTO watermill_orders (uuid, payload, metadata, transaction_id)
			VALUES (@id, @payload::text::json, '{"tenant": "acme"}', pg_current_xact_id())`,
		columns: columns{
			id: "uuid", seq: `"offset"`, xid: "transaction_id", payload: "payload", created: "created_at",
		},
		attributes: map[string]string{"event_type": "", "aggregate_type": "", "aggregate_id": ""},
	},
}

var ownColumns = columns{
	id: "id", seq: "seq", xid: "xid", payload: "payload", created: "created_at", kind: "aggregate_type",
	aggregate: "aggregate_id",
}

const insertOwn = `INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, headers)
	VALUES (@id, @kind, @aggregate, @type, @payload::text::json, '{"tenant": "acme", "empty": ""}')`

// massTransit is the table of MassTransit as it is, or with the column by which it can be repaired.
func massTransit(name string, repairs bool) shape {
	s := shape{
		name: name, table: `"OutboxMessage"`, repairs: repairs,
		create: `CREATE TABLE "OutboxState" ("OutboxId" uuid PRIMARY KEY, "LockId" uuid NOT NULL,
				"Created" timestamptz NOT NULL);
			CREATE TABLE "OutboxMessage" ("SequenceNumber" bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
			"EnqueueTime" timestamptz, "SentTime" timestamptz NOT NULL, "Headers" text, "Properties" text,
			"InboxMessageId" uuid, "InboxConsumerId" uuid, "OutboxId" uuid REFERENCES "OutboxState",
			"MessageId" uuid NOT NULL, "ContentType" varchar(256) NOT NULL, "MessageType" text NOT NULL,
			"Body" text NOT NULL, "ConversationId" uuid, "CorrelationId" uuid, "InitiatorId" uuid, "RequestId" uuid,
			"SourceAddress" varchar(256), "DestinationAddress" varchar(256), "ResponseAddress" varchar(256),
			"FaultAddress" varchar(256), "ExpirationTime" timestamptz)`,
		settings: []string{"RELAY_PRESET=masstransit"},
		insert: `WITH state AS (INSERT INTO "OutboxState" VALUES (md5(@kind::text || '/' || @aggregate::text)::uuid,
				gen_random_uuid(), now()) ON CONFLICT DO NOTHING)
			INSERT INTO "OutboxMessage" ("Body", "ContentType", "Headers", "MessageId", "MessageType", "OutboxId",
			"SentTime") VALUES (@payload, 'application/json', '{"tenant": "acme"}', @id, @type,
			md5(@kind::text || '/' || @aggregate::text)::uuid, now())`,
		columns:    columns{id: `"MessageId"`, seq: `"SequenceNumber"`, payload: `"Body"`, created: `"SentTime"`},
		attributes: map[string]string{"aggregate_type": "", "aggregate_id": ""},
	}
	if repairs {
		s.create += `;
			ALTER TABLE "OutboxMessage" ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id();
			CREATE INDEX ON "OutboxMessage" (xid)`
		s.settings = append(s.settings, "RELAY_COLUMN_XID=xid")
		s.columns.xid = "xid"
	}
	return s
}

// several is the shape of a relay with several tables.
const several = "several tables"

// severalTables has the same table in several schemas, and a view of all their rows.
func severalTables() shape {
	s := shape{
		name: several, repairs: true, keepsNone: true, routes: byAggregateType, columns: ownColumns,
		tables:   []string{"tenant_0.outbox", "tenant_1.outbox", "tenant_2.outbox"},
		settings: []string{"RELAY_TABLE=tenant_*.outbox"},
		insert:   strings.Replace(insertOwn, "outbox_events", "{into}", 1),
	}
	s.table, s.columns.common = s.tables[0], "common_seq"
	var rows []string
	for _, table := range s.tables {
		schema, _, _ := strings.Cut(table, ".")
		s.create += `CREATE SCHEMA ` + schema + `;
			GRANT USAGE ON SCHEMA ` + schema + ` TO PUBLIC;
			CREATE TABLE ` + table + ` (LIKE outbox_events INCLUDING ALL);
			`
		// a table has the number of its place in the checkpoint row
		rows = append(rows, `SELECT '`+table+`/' || id AS id, seq, xid, aggregate_id,
			'`+table+`/' || aggregate_type AS aggregate_type,
			((SELECT array_position(tables, '`+table+`') FROM relay_checkpoints
				WHERE tables IS NOT NULL LIMIT 1) - 1) * (1::bigint << 47) + seq AS common_seq FROM `+table)
	}
	s.create += `CREATE VIEW outboxes AS ` + strings.Join(rows, " UNION ALL ")
	return s
}
