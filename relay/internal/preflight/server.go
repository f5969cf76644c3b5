package preflight

import (
	"context"
)

// minVersion is the first version that has the publication options that the relay needs.
const minVersion = 15

// server checks the properties that only another server, or another configuration, changes.
func (d *database) server(ctx context.Context) Findings {
	const object = "server"
	var text, walLevel, encoding string
	var standby bool
	err := d.Pool.QueryRow(ctx, `
		SELECT current_setting('server_version_num')::integer / 10000, current_setting('server_version'),
		       current_setting('wal_level'), current_setting('server_encoding'), pg_is_in_recovery(),
		       current_setting('max_wal_senders')::integer`).
		Scan(&d.version, &text, &walLevel, &encoding, &standby, &d.walSenders)
	if err != nil {
		return Findings{unknown(CodeVersion, object, err)}
	}
	found := Findings{
		passed(CodeVersion, object, "the server is Postgres %s", text),
		passed(CodePrimary, object, "the server is a primary"),
		walLevelFinding(d.version, walLevel),
		passed(CodeEncoding, object, "the encoding of the database is %s", encoding),
	}
	if d.version < minVersion {
		found[0] = failed(CodeVersion, object, "the server is Postgres %s, and the relay needs %d or newer",
			text, minVersion)
	}
	if standby {
		found[1] = failed(CodePrimary, object, "the server is a standby: name the primary in DATABASE_URL")
	}
	if encoding != "UTF8" {
		found[3] = failed(CodeEncoding, object, "the encoding of the database is %s, and messages need UTF8", encoding)
	}
	return found
}

// onDemandVersion is the first version that decodes with wal_level = replica. Its first logical
// slot turns decoding on, and effective_wal_level shows the result.
// https://www.postgresql.org/docs/19/runtime-config-wal.html#GUC-WAL-LEVEL
const onDemandVersion = 19

// decodes reports whether a server of this version with this wal_level can create a logical slot.
func decodes(version int, walLevel string) bool {
	return walLevel == "logical" || walLevel == "replica" && version >= onDemandVersion
}

func walLevelFinding(version int, walLevel string) Finding {
	const object = "server"
	if decodes(version, walLevel) {
		return passed(CodeWALLevel, object, "wal_level is %s", walLevel)
	}
	return failed(CodeWALLevel, object, "wal_level is %s: set it to logical and restart the server (on RDS: set "+
		"rds.logical_replication = 1 in the parameter group, and reboot)", walLevel).
		with("ALTER SYSTEM SET wal_level = logical;")
}
