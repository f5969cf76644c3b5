package preflight

// The codes of the findings. relay/docs/check.md has the comments as a table, which a test compares.
const (
	CodeSettings       Code = "settings"         // every setting can be read, and they do not contradict each other
	CodeUnknownSetting Code = "unknown-setting"  // every variable of the environment that begins with RELAY_ is a setting
	CodeDatabase       Code = "database"         // DATABASE_URL names a server that lets the relay in
	CodeVersion        Code = "version"          // the server is Postgres 15 or newer
	CodePrimary        Code = "primary"          // the server is no standby
	CodeWALLevel       Code = "wal-level"        // the log has enough in it to be decoded
	CodeEncoding       Code = "encoding"         // the database is in UTF-8
	CodeRole           Code = "role"             // the role may replicate
	CodePooler         Code = "pooler"           // no connection pooler stands between
	CodeReplication    Code = "replication"      // a replication connection can be opened
	CodeTable          Code = "table"            // the outbox table exists and may be read
	CodeColumns        Code = "columns"          // the columns that the settings name exist
	CodeSequence       Code = "sequence"         // the database numbers every row
	CodeID             Code = "id"               // no two events share an id
	CodeOrder          Code = "order"            // the sequence column gives each row its own value, in order
	CodeLogged         Code = "logged"           // every row of the table is in the log
	CodeXID            Code = "xid"              // the database fills in the writing transaction
	CodeText           Code = "text"             // the columns that leave as text are no bytes
	CodeHeaders        Code = "headers"          // the headers can be a JSON object
	CodeGenerated      Code = "generated"        // a generated column that is read is in the log
	CodeIdentity       Code = "replica-identity" // no publication keeps rows from being updated or deleted
	CodeRowSecurity    Code = "row-security"     // no policy can hide a row from the relay
	CodePublication    Code = "publication"      // the publication streams every row of the table with the columns that are read
	CodeRelayTables    Code = "relay-tables"     // the relay may write its own tables
	CodeSlot           Code = "slot"             // the slot is the relay's, or can be created
	CodeRetention      Code = "retention"        // delivered rows can be removed, where RELAY_RETENTION asks for it
	CodeCreatedAt      Code = "created-at"       // the column with the time of the event is a time, where a setting compares it
	CodeSynchronous    Code = "synchronous"      // no commit waits for the relay: synchronous_standby_names does not match it
	CodeStart          Code = "start"            // the first start knows what to do with the rows that are there
	CodeAWS            Code = "aws"              // AWS settings and credentials are there
	CodeDestination    Code = "destination"      // the topic or queue exists and fits the settings
	CodeAggregate      Code = "aggregate"        // a FIFO destination gets the id of the aggregate
	CodeThroughput     Code = "throughput"       // the destination is set up to take events fast
	CodeListen         Code = "listen"           // RELAY_LISTEN is an address that is free
)
