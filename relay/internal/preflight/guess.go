package preflight

import (
	"maps"
	"slices"
	"strings"
)

// guessed is a column that probably fills a field.
type guessed struct {
	setting string
	column  string // empty: no column looks like it
	why     string
}

// looks tells how a column for a field looks: by its name, in order of preference, and its type. A
// name matches whatever its capitals and underscores are.
type looks struct {
	setting string
	names   []string
	types   []string // built-in types; none: every type
}

// allLooks are in the order in which columns are taken.
var allLooks = []looks{
	{settingXID, []string{"xid", "transactionid", "txid"}, []string{"xid8"}},
	{
		settingSequence,
		[]string{"seq", "sequence", "sequencenumber", "offset", "position", "number", "id"},
		[]string{"int8", "int4"},
	},
	{settingID, []string{"id", "eventid", "messageid", "uuid", "guid"}, nil},
	{
		settingPayload,
		[]string{"payload", "body", "data", "content", "eventdata", "payloadjson", "message", "event", "value"},
		[]string{"json", "jsonb", "text", "varchar", "xml", "bytea"},
	},
	{
		settingHeaders,
		[]string{"headers", "metadata", "meta", "attributes", "properties"},
		[]string{"json", "jsonb", "text", "varchar", "_text", "_varchar"},
	},
	{
		settingCreatedAt,
		[]string{
			"createdat", "occurredat", "createdon", "occurredon", "occurredonutc", "timestamp", "senttime", "created",
			"time",
		},
		[]string{"timestamptz", "timestamp"},
	},
	{"RELAY_COLUMN_AGGREGATE_TYPE", []string{"aggregatetype", "entitytype", "streamtype", "topic"}, nil},
	{
		"RELAY_COLUMN_AGGREGATE_ID",
		[]string{"aggregateid", "entityid", "streamid", "partitionkey", "key", "correlationid"},
		nil,
	},
	{
		"RELAY_COLUMN_EVENT_TYPE",
		[]string{"eventtype", "type", "kind", "messagetype", "eventname", "name", "subject"},
		nil,
	},
}

// plainName removes the differences between naming conventions.
func plainName(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(name))
}

// guess returns the column of each field. unique are the columns with a unique index of their own,
// the primary key first.
func guess(columns map[string]column, unique []string) []guessed {
	taken := map[string]bool{}
	var all []guessed
	for _, l := range allLooks {
		g := l.find(columns, unique, taken)
		if g.column != "" && l.setting != settingSequence { // a numbering id is the id too
			taken[g.column] = true
		}
		all = append(all, g)
	}
	return all
}

func (l looks) find(columns map[string]column, unique []string, taken map[string]bool) guessed {
	fits := func(name string) bool {
		c := columns[name]
		return !taken[name] && (l.types == nil || slices.Contains(l.types, c.base)) &&
			(l.setting != settingSequence || c.filled())
	}
	existing := slices.Sorted(maps.Keys(columns))
	for _, wanted := range l.names {
		for _, name := range existing {
			if plainName(name) == wanted && fits(name) {
				return guessed{l.setting, name, "by its name"}
			}
		}
	}
	candidates := existing
	if l.setting == settingID {
		candidates = unique
	}
	candidates = slices.DeleteFunc(slices.Clone(candidates), func(name string) bool { return !fits(name) })
	switch {
	case l.setting == settingID && len(candidates) > 0:
		return guessed{l.setting, candidates[0], "because its values are unique"}
	case len(candidates) == 1 && l.types != nil && l.setting != settingHeaders && l.setting != settingSequence:
		return guessed{l.setting, candidates[0], "because no other column has such a type"}
	}
	return guessed{setting: l.setting}
}
