package outboxtable

// CreatePublicationSQL is the statement, without its semicolon, that creates a publication of a
// table for the relay: only its inserts, and the rows of its partitions under its own name.
func CreatePublicationSQL(publication string, t Table) string {
	return "CREATE PUBLICATION " + Quote(publication) + " FOR TABLE " + t.Identifier() +
		" WITH (publish = 'insert', publish_via_partition_root = true)"
}
