package sink

// MessageID is the name that a broker gives to a message which it accepts. It has no memory of its
// own. It is empty if the broker gives no name, or one that is longer than the UUIDs of SNS and
// SQS.
type MessageID struct {
	text   [39]byte
	length uint8
}

// NewMessageID returns the MessageID of this text.
func NewMessageID(text []byte) (id MessageID) {
	if len(text) <= len(id.text) {
		id.length = uint8(copy(id.text[:], text)) //nolint:gosec // at most 39
	}
	return id
}

// String returns the name as the broker writes it.
func (id MessageID) String() string { return string(id.text[:id.length]) }
