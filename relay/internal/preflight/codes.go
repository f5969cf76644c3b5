package preflight

// The codes of the findings. relay/docs/check.md has these comments as a table, and a test compares
// both.
const (
	CodeSettings       Code = "settings"         // every setting is valid, and no two settings contradict each other
	CodeUnknownSetting Code = "unknown-setting"  // every environment variable that begins with RELAY_ is a setting
	CodeRoutes         Code = "routes"           // no route drops events by mistake: each rule with none is named
	CodeDatabase       Code = "database"         // the server in DATABASE_URL accepts a connection of the relay
	CodeVersion        Code = "version"          // the server is Postgres 15 or newer
	CodePrimary        Code = "primary"          // the server is not a physical standby
	CodeWALLevel       Code = "wal-level"        // the log can be decoded
	CodeEncoding       Code = "encoding"         // the database is in UTF-8
	CodeRole           Code = "role"             // the role may replicate, and is the role of the relay
	CodePooler         Code = "pooler"           // no connection pooler is between the relay and the server
	CodePrivileges     Code = "privileges"       // the role may use the functions and views of the server that it needs
	CodeConnections    Code = "connections"      // role and database allow the connections of a relay and its standby
	CodeReplication    Code = "replication"      // a replication connection can be opened
	CodeTable          Code = "table"            // the outbox table exists and may be read
	CodeColumns        Code = "columns"          // every column in the settings exists
	CodeProposal       Code = "proposal"         // the settings name the table's columns; if not, it proposes settings
	CodeSequence       Code = "sequence"         // the database numbers every row
	CodeID             Code = "id"               // every event has an id, and no two share one, also after a failover
	CodeOrder          Code = "order"            // the sequence column gives each row a different, increasing value
	CodeGuarantees     Code = "guarantees"       // the table allows every guarantee of the relay
	CodeEmitted        Code = "emitted"          // every event has a row, as without RELAY_EMITTED
	CodeLogged         Code = "logged"           // every row of the table is in the log
	CodeXID            Code = "xid"              // the database fills in the writing transaction
	CodeText           Code = "text"             // no column that is sent as text contains bytes
	CodeHeaders        Code = "headers"          // the headers can be read
	CodeGenerated      Code = "generated"        // the log contains every generated column that the relay reads
	CodeIdentity       Code = "replica-identity" // no publication prevents UPDATE or DELETE of a row
	CodeUpdates        Code = "updates"          // no program updates rows: the relay sends no later version of a row
	CodeRowSecurity    Code = "row-security"     // no policy can hide a row from the relay
	CodePublication    Code = "publication"      // the publication streams every row with all required columns
	CodeRelayTables    Code = "relay-tables"     // the relay may write its own tables
	CodeSearchPath     Code = "search-path"      // no other role may create functions in the relay's search path
	CodeSlot           Code = "slot"             // the slot exists and is usable, or can be created
	CodeDeferral       Code = "deferral"         // events of a destination or of a busy aggregate can wait in the table
	CodeRetention      Code = "retention"        // delivered rows can be removed, if RELAY_RETENTION is set
	CodeCreatedAt      Code = "created-at"       // the column of creation times is a time
	CodeSynchronous    Code = "synchronous"      // no commit waits for the relay by synchronous_standby_names
	CodeStart          Code = "start"            // RELAY_START decides about existing rows at the first start
	CodeAWS            Code = "aws"              // AWS settings and credentials exist
	CodeDestination    Code = "destination"      // the topic, queue or bus exists and fits the settings
	CodeAggregate      Code = "aggregate"        // a FIFO destination gets an aggregate id for each event
	CodeThroughput     Code = "throughput"       // the destination has its high-throughput configuration
	CodeSubscription   Code = "subscription"     // the topic has a subscriber
	CodeLargeEvents    Code = "large-events"     // the relay may write to the bucket in RELAY_LARGE_EVENTS_BUCKET
	CodeListen         Code = "listen"           // the address in RELAY_LISTEN is free, or of the relay of this slot
)
