package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/deferral"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/leadership"
	"github.com/outbox-relay/outbox-relay/relay/internal/relay"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// database are the settings of the Postgres connection.
type database struct {
	DatabaseURL string `env:"DATABASE_URL" placeholder:"URL" help:"Postgres, as a URL or as key=value pairs. libpq's variables complete it: PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSSLMODE, PGSSLROOTCERT, …" group:"Needed"`

	DatabaseAuth      string `env:"DATABASE_AUTH" enum:",password,secret,iam" default:"" placeholder:"METHOD" help:"How to authenticate to Postgres. Evaluated again for every new connection: password (in DATABASE_URL, PGPASSWORD or libpq's password file), secret (DATABASE_SECRET_ARN), or iam (an RDS IAM authentication token; RDS only). Default: secret where DATABASE_SECRET_ARN is set, else password."`
	DatabaseSecretARN string `name:"database-secret-arn" env:"DATABASE_SECRET_ARN" placeholder:"ARN" help:"Secret in AWS Secrets Manager with the password: plain text, or JSON with username and password as in secrets of RDS."`
}

// logging are the settings of the log.
type logging struct {
	LogLevel  string `env:"RELAY_LOG_LEVEL" default:"info" enum:"debug,info,warn,error" help:"Lowest level that is logged: debug, info, warn or error."`
	LogFormat string `env:"RELAY_LOG_FORMAT" default:"json" enum:"json,text" help:"Format of the log: json or text."`
}

// source are the settings of the slot, the publication and the outbox table.
type source struct {
	Slot        string `env:"RELAY_SLOT" default:"outbox_relay" help:"Replication slot. Every relay with this name shares it: one streams, the others stand by."`
	Publication string `env:"RELAY_PUBLICATION" default:"outbox_pub" help:"Publication that contains the outbox table, written as in SQL."`
	Table       string `env:"RELAY_TABLE" default:"public.outbox_events" help:"Outbox table, as schema.name. Names are written as in SQL, here and for the columns: one with capitals needs double quotes, as in public.\"OutboxMessages\". Several tables with the same columns are separated by commas, and * in the name of a schema stands for any text: tenant_*.outbox (see relay/docs/table.md)."`

	Emitted string `env:"RELAY_EMITTED" placeholder:"PREFIX" help:"Prefix of pg_logical_emit_message: messages with it are events too, without a row in a table (see relay/docs/messages.md). An event without a row cannot be deferred, replayed or repaired. Empty: no messages are read."`

	Preset string `env:"RELAY_PRESET" enum:",debezium,quarkus,masstransit,watermill" default:"" placeholder:"PROJECT" help:"The outbox table of a project: sets RELAY_TABLE, RELAY_COLUMN_… and others, as far as they are not set. debezium, quarkus, masstransit or watermill (see relay/docs/presets.md)."`

	IDUnique string `name:"id-unique" env:"RELAY_ID_UNIQUE" default:"index" enum:"index,assert" help:"Proof that no two events share an id: a unique index on the id (index), or your guarantee (assert)."`

	RowsStay string `env:"RELAY_ROWS_STAY" default:"auto" enum:"auto,assert,deny" help:"Whether rows stay in the outbox table until the relay has delivered them, so that those of an unavailable destination, or of an aggregate that is far behind or has a dead letter, can wait there: auto (they do in the table that relay migrate created), assert (they do) or deny (they do not)."`

	RowFilter string `env:"RELAY_ROW_FILTER" default:"refuse" enum:"refuse,assert" help:"Row filter of the publication (WHERE): refuse one (refuse), or accept it because you guarantee that no program changes the columns that it reads after the INSERT (assert). Rows that it excludes are no events of this relay."`

	ColumnID            string `name:"column-id" env:"RELAY_COLUMN_ID" default:"id" help:"Column with the event id." group:"Columns of the outbox table, for a table of your own"`
	ColumnSequence      string `env:"RELAY_COLUMN_SEQUENCE" default:"seq" help:"Column that orders the events of one aggregate: bigint, an identity; empty if there is none." group:"Columns of the outbox table, for a table of your own"`
	ColumnXID           string `name:"column-xid" env:"RELAY_COLUMN_XID" default:"xid" help:"Column with the writing transaction: xid8 NOT NULL DEFAULT pg_current_xact_id(); empty if there is none." group:"Columns of the outbox table, for a table of your own"`
	ColumnAggregateType string `env:"RELAY_COLUMN_AGGREGATE_TYPE" default:"aggregate_type" help:"Column with the type of the aggregate, or its text for all events in single quotes ('order'); empty if there is none." group:"Columns of the outbox table, for a table of your own"`
	ColumnAggregateID   string `name:"column-aggregate-id" env:"RELAY_COLUMN_AGGREGATE_ID" default:"aggregate_id" help:"Column with the id of the aggregate, or its text for all events in single quotes; empty if there is none." group:"Columns of the outbox table, for a table of your own"`
	ColumnEventType     string `env:"RELAY_COLUMN_EVENT_TYPE" default:"event_type" help:"Column with the type of the event, or its text for all events in single quotes ('order.created'); empty if there is none." group:"Columns of the outbox table, for a table of your own"`
	ColumnPayload       string `env:"RELAY_COLUMN_PAYLOAD" default:"payload" help:"Column with the payload to deliver: json, text or xml, jsonb (which does not keep bytes as written), or bytea (RELAY_PAYLOAD_BYTES)." group:"Columns of the outbox table, for a table of your own"`
	ColumnHeaders       string `env:"RELAY_COLUMN_HEADERS" default:"headers" help:"Column with the headers: a JSON object, hstore, or text[]; empty if there is none." group:"Columns of the outbox table, for a table of your own"`
	ColumnCreatedAt     string `env:"RELAY_COLUMN_CREATED_AT" default:"created_at" help:"Column with the time of the event; empty if there is none." group:"Columns of the outbox table, for a table of your own"`
	OrderKey            string `env:"RELAY_ORDER_KEY" placeholder:"COLUMNS" help:"Columns whose values together are the unit of order at FIFO destinations, in place of the aggregate, separated by commas." group:"Columns of the outbox table, for a table of your own"`
	PayloadBytes        string `env:"RELAY_PAYLOAD_BYTES" default:"refuse" enum:"refuse,base64" help:"A payload column of bytea: refuse to start, or deliver the bytes in base64 with the attribute payload_encoding (base64)." group:"Columns of the outbox table, for a table of your own"`
	AttributeColumns    string `env:"RELAY_ATTRIBUTE_COLUMNS" placeholder:"COLUMNS" help:"Columns that become message attributes, before the headers: COLUMN or NAME=COLUMN, separated by commas." group:"Columns of the outbox table, for a table of your own"`
}

// target are the settings of the destinations.
type target struct {
	Destination  string        `env:"RELAY_DESTINATION" placeholder:"ARN|URL" help:"Default destination: an SNS topic ARN, an SQS queue ARN or URL, or an EventBridge event bus ARN." group:"Needed"`
	Routes       string        `env:"RELAY_ROUTES" placeholder:"ROUTES" help:"Destinations for some events, separated by semicolons or line breaks: event:order.created=ARN, aggregate:customer=ARN, event:billing.*=ARN. none in place of an ARN drops these events. An exact event type takes precedence over an aggregate type, and that over the longest prefix. A destination may be a pattern with a column of the event in its name: event:*=arn:aws:sns:… (see relay/docs/destinations.md)."`
	Allowed      string        `name:"allowed-destinations" env:"RELAY_ALLOWED_DESTINATIONS" placeholder:"ARNS" help:"Destinations that patterns in RELAY_ROUTES may lead to: ARNs, separated by spaces, line breaks or semicolons. Braces list names, as in arn:aws:sns:eu-central-1:123456789012:{orders,customers}.fifo. The first event opens each of them."`
	Unknown      string        `name:"unknown-destination" env:"RELAY_UNKNOWN_DESTINATION" default:"park" enum:"park,default" help:"What to do with an event whose pattern leads to none of RELAY_ALLOWED_DESTINATIONS: park it as a dead letter, or send it to the default destination."`
	MaxPatterned int           `name:"max-destinations" env:"RELAY_MAX_DESTINATIONS" default:"100" help:"Destinations in RELAY_ALLOWED_DESTINATIONS, at most. Each that gets events needs memory and has its own metrics."`
	Headers      string        `env:"RELAY_HEADERS" default:"*" help:"Headers that become message attributes in addition to the relay's own, in this order until there are ten: names separated by commas, * for all others, none for none."`
	Attributes   string        `name:"attribute-names" env:"RELAY_ATTRIBUTE_NAMES" placeholder:"NAMES" help:"Other names of the relay's own attributes, separated by commas, as in event_id=id,event_type=eventType. sequence=none drops an attribute."`
	Format       string        `env:"RELAY_FORMAT" default:"plain" placeholder:"FORMAT" help:"Format of messages: plain, cloudevents (a CloudEvent in JSON as the body) or cloudevents-binary (the payload as the body, the rest in attributes). Further entries, separated by semicolons or line breaks, set that of some events as RELAY_ROUTES does: cloudevents; event:billing.*=plain."`
	CloudEvents  string        `name:"cloudevents-attributes" env:"RELAY_CLOUDEVENTS_ATTRIBUTES" placeholder:"ATTRIBUTES" help:"Attributes of CloudEvents in place of their defaults, separated by commas: NAME=COLUMN, NAME='TEXT' or NAME=none, as in source='https://shop.example/orders',dataschema=schema_url (see relay/docs/events.md)."`
	LargeBucket  string        `name:"large-events-bucket" env:"RELAY_LARGE_EVENTS_BUCKET" placeholder:"BUCKET" help:"S3 bucket for events that are too long for their topic or queue. The message then points to the object, in the format of Amazon's Extended Client Libraries. Without it the relay parks such events."`
	MaxEvent     int           `name:"max-event-bytes" env:"RELAY_MAX_EVENT_BYTES" default:"10485760" help:"Longest payload in bytes, if RELAY_LARGE_EVENTS_BUCKET is set. The relay parks a longer one. Without the bucket it is 1048576."`
	Tenant       string        `env:"RELAY_TENANT" default:"aggregate" help:"MessageGroupId at standard destinations, which fair queues use as the tenant: aggregate, header:NAME or column:NAME of the outbox table (an event without it gets none), or none. FIFO destinations always get the aggregate."`
	BusSource    string        `name:"eventbridge-source" env:"RELAY_EVENTBRIDGE_SOURCE" default:"outbox-relay" help:"Source of every event at EventBridge buses, by which rules select them. It must not begin with aws."`
	BusType      string        `name:"eventbridge-detail-type" env:"RELAY_EVENTBRIDGE_DETAIL_TYPE" placeholder:"TEXT" help:"detail-type of every event at EventBridge buses. Default: the type of the event, or event if it has none."`
	GroupBatches bool          `env:"RELAY_GROUP_BATCHES" help:"Send several events of one message group in one request to a FIFO destination. Faster for few large aggregates, but a request that fails in part may reorder them." group:"Tuning, for more load or less memory"`
	OnRejected   string        `env:"RELAY_ON_REJECTED" default:"" enum:",park,park-aggregate,halt" placeholder:"POLICY" help:"Policy for an event that its destination refuses: park it, park-aggregate (later events of its aggregate wait), or halt. Default: park-aggregate on FIFO destinations, park on others."`
	InFlight     int           `env:"RELAY_IN_FLIGHT" default:"0" help:"Requests to one destination at the same time, at most. 0: 256, or 64 with the SDK's client or through a proxy, where each needs ten times the memory." group:"Tuning, for more load or less memory"`
	MaxRate      int           `env:"RELAY_MAX_RATE" default:"0" help:"Requests to one destination in a second, at most. A request has up to ten events. 0: as many as the destination accepts." group:"Tuning, for more load or less memory"`
	Linger       time.Duration `env:"RELAY_LINGER" default:"0s" help:"How long a request that is not full waits for more events: fewer requests, more delay." group:"Tuning, for more load or less memory"`
	Timeout      time.Duration `name:"request-timeout" env:"RELAY_REQUEST_TIMEOUT" default:"10s" help:"Time limit of one request. Afterwards its outcome counts as unknown, and the relay repeats it. Requests for credentials have the same limit." group:"Tuning, for more load or less memory"`
	AWSClient    string        `name:"aws-client" env:"RELAY_AWS_CLIENT" default:"direct" enum:"direct,sdk" help:"Client for publishing: direct, the relay's own, at a fraction of the processor time, or sdk, the AWS SDK. Both send the same messages and handle answers alike." group:"Tuning, for more load or less memory"`
	RetryMax     time.Duration `env:"RELAY_RETRY_MAX" default:"5s" help:"Longest wait between two attempts. There is no last attempt." group:"Tuning, for more load or less memory"`
	ParkAfter    time.Duration `env:"RELAY_PARK_AFTER" default:"0s" help:"When a destination has accepted nothing for this long, let its events wait in the outbox table instead of delaying those of the others. They are delivered once it is available. Where the table cannot keep them (RELAY_ROWS_STAY), they become dead letters. Time without valid credentials does not count. 0s: never."`
}

// operation are the settings of the relay's operation.
type operation struct {
	Start             string        `env:"RELAY_START" placeholder:"MODE" help:"First start on a table that already has rows: table publishes them, now excludes them, since:2026-01-31T00:00:00Z publishes those created since then."`
	OnSlotLoss        string        `env:"RELAY_ON_SLOT_LOSS" default:"recover" enum:"recover,halt" help:"When the slot cannot bring every event: recover publishes from the table the events that may be missing, halt stops the relay with an error."`
	Audit             string        `env:"RELAY_AUDIT" default:"on" enum:"on,off" help:"Compare the rows of the outbox table with those that the log brought, each second. If the log brought fewer, the relay acts as RELAY_ON_SLOT_LOSS says."`
	WALSenderTimeout  time.Duration `name:"wal-sender-timeout" env:"RELAY_WAL_SENDER_TIMEOUT" default:"10s" help:"Time within which another relay takes over from one that froze or was cut off. The wal_sender_timeout of the replication connection is nine tenths of it."`
	DrainTimeout      time.Duration `env:"RELAY_DRAIN_TIMEOUT" default:"20s" help:"On SIGTERM, time to deliver the events that were read. Keep it below the stop timeout of the container."`
	Retention         time.Duration `env:"RELAY_RETENTION" default:"0s" help:"Remove rows of the outbox table once they are delivered and this old by RELAY_COLUMN_CREATED_AT, and dead letters that were redriven or discarded this long ago. 0s keeps them."`
	WindowEvents      int           `env:"RELAY_WINDOW_EVENTS" default:"8192" help:"Events between log and broker at the same time, at most." group:"Tuning, for more load or less memory"`
	WindowBytes       int           `env:"RELAY_WINDOW_BYTES" default:"8388608" help:"Bytes of these events, at most." group:"Tuning, for more load or less memory"`
	Listen            string        `env:"RELAY_LISTEN" default:"127.0.0.1:9464" help:"Address for /livez, /readyz, /metrics, /status and the page at /; empty for none. The image sets :9464, all of its interfaces."`
	Metrics           string        `env:"RELAY_METRICS" default:"prometheus" enum:"prometheus,emf,both,none" help:"Destination of the metrics: prometheus (/metrics on RELAY_LISTEN), emf (stdout, in the embedded metric format that CloudWatch reads from the log), both or none."`
	MetricsInterval   time.Duration `env:"RELAY_METRICS_INTERVAL" default:"1m" help:"How often the metrics are written to stdout."`
	MetricsDeployment string        `env:"RELAY_METRICS_DEPLOYMENT" default:"default" help:"Dimension of the metrics on stdout that distinguishes deployments in one AWS account and region. Give each its own name."`
}

// relaySettings are all settings of the relay, in the order of --help.
type relaySettings struct {
	database  `embed:"" group:"Postgres"`
	source    `embed:"" group:"Outbox table"`
	target    `embed:"" group:"Destinations (region, credentials and endpoints: AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL, …)"`
	operation `embed:"" group:"Operation"`
	logging   `embed:"" group:"Logging"`
}

const (
	minWALSenderTimeout = time.Second
	minRetention        = time.Second
	minMetricsInterval  = time.Second
	minWindowBytes      = 2 << 20 // two messages of the largest size; a larger event is alone in the window
)

// config converts the settings to a [relay.Config], as far as that needs neither database nor
// broker. The error names every problem.
func (s *relaySettings) config() (relay.Config, error) {
	table, problems := s.table()
	report := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	start, err := parseStart(s.Start, s.ColumnCreatedAt)
	report(err)
	// An emitted event belongs to no table. Among several tables the slot tells its relay.
	schema, name := cmp.Or(table.Schema, "emitted"), cmp.Or(table.Name, s.Slot)
	cloudEvents, more := readCloudEvents(&table, s.CloudEvents)
	problems = append(problems, more...)
	router, err := route.Parse(route.Settings{
		Destination: s.Destination, Routes: s.Routes, Headers: s.Headers, Tenant: s.Tenant,
		Allowed: s.Allowed, Unknown: s.Unknown, Max: s.MaxPatterned, Schema: schema, Table: name,
		Several:  table.IsSeveral(),
		OrderKey: table.OrderKey, AttributeNames: s.Attributes, Columns: table.Attributes,
		Format: s.Format, CloudEvents: cloudEvents, MaxPayload: s.maxPayload(),
		Untyped: table.Columns.EventType == "" && table.Constants.EventType == "",
	})
	report(err)
	report(readTenant(&table, router))
	report(readRoute(&table, router))
	if !slot.ValidName(s.Slot) {
		report(fmt.Errorf("RELAY_SLOT %q: use lower-case letters, digits and underscores, at most 63", s.Slot))
	}
	publication, err := parseName("RELAY_PUBLICATION", s.Publication)
	report(err)
	problems = append(problems, s.outOfRange()...)

	return relay.Config{
		Connect:        s.connect,
		Slot:           s.Slot,
		Publication:    publication,
		Table:          table,
		Emitted:        s.Emitted,
		Start:          start,
		HaltOnSlotLoss: s.OnSlotLoss == "halt",
		RowsStay:       deferral.RowsStay(s.RowsStay),
		Audit:          s.Audit == "on",
		SenderTimeout:  s.WALSenderTimeout * 9 / 10, // the standby needs the rest to notice and to acquire the slot
		DrainTimeout:   s.DrainTimeout,
		Retention:      s.Retention,
		Window:         checkpoint.Window{Events: s.WindowEvents, Bytes: s.WindowBytes},
		Delivery: delivery.Options{
			InFlight:      s.inFlight(http.ProxyFromEnvironment),
			MaxRate:       s.MaxRate,
			EagerInFlight: eagerInFlight,
			Linger:        s.Linger,
			GroupBatches:  s.GroupBatches,
			OnRejected:    delivery.Policy(s.OnRejected),
			ParkAfter:     s.ParkAfter,
			Backoff:       delivery.Backoff{Min: retryMin, Max: s.RetryMax},
		},
		Router: router,
	}, errors.Join(problems...)
}

// maxPayload returns the longest payload that the relay sends, or zero for that of a message.
func (s *relaySettings) maxPayload() int {
	if s.LargeBucket == "" {
		return 0
	}
	return s.MaxEvent
}

const (
	// eagerInFlight is the number of requests that the relay sends without waiting for a full
	// batch. With a broker that answers in 25 ms, that keeps the latency of a thousand events a
	// second.
	eagerInFlight = 32
	// ownInFlight keeps a relay busy whose broker answers in 25 ms. netInFlight is the number that
	// the memory limit allows with net/http, which buffers each request until its answer arrives.
	ownInFlight, netInFlight = 256, 64
	retryMin                 = 100 * time.Millisecond
)

// inFlight returns the limit of concurrent requests. proxyOf returns the proxy for a host.
func (s *relaySettings) inFlight(proxyOf func(*http.Request) (*url.URL, error)) int {
	if s.InFlight > 0 {
		return s.InFlight
	}
	proxy, err := proxyOf(&http.Request{URL: &url.URL{Scheme: "https", Host: "sns.amazonaws.com"}})
	if sink.Client(s.AWSClient) == sink.SDK || proxy != nil || err != nil {
		return netInFlight
	}
	return ownInFlight
}

func parseStart(text, createdAt string) (leadership.Start, error) {
	switch mode := leadership.StartMode(text); mode {
	case leadership.StartUndecided, leadership.StartTable, leadership.StartNow:
		return leadership.Start{Mode: mode}, nil
	}
	if since, found := strings.CutPrefix(text, string(leadership.StartSince)+":"); found {
		at, err := time.Parse(time.RFC3339, since)
		if err != nil {
			return leadership.Start{}, fmt.Errorf("RELAY_START %q: write the time as in since:2026-01-31T00:00:00Z",
				text)
		}
		if createdAt == "" {
			return leadership.Start{}, fmt.Errorf("RELAY_START %q needs a column with the time of the event: name "+
				"it in RELAY_COLUMN_CREATED_AT", text)
		}
		return leadership.Start{Mode: leadership.StartSince, Since: at}, nil
	}
	return leadership.Start{}, fmt.Errorf("RELAY_START %q: write table, now or since:2026-01-31T00:00:00Z", text)
}
