// Package pgoutput decodes the messages of the output plugin pgoutput, protocol version 1, into
// events and commits.
// https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
package pgoutput

import (
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Kind tells which part of a [Message] is valid.
type Kind uint8

// KindIgnored is a message without an event: Relation, Type, Origin, Truncate, updates, deletes,
// the rows of other tables, and the messages of pg_logical_emit_message with another prefix.
// KindNonTransactional is a message with the prefix that belongs to no transaction: no commit
// delivers it.
const (
	KindIgnored Kind = iota
	KindBegin
	KindRow
	KindEmitted
	KindNonTransactional
	KindCommit
)

// Message is one decoded pgoutput message.
type Message struct {
	Kind   Kind
	Begin  Begin           // if KindBegin
	Row    outbox.Envelope // if KindRow or KindEmitted
	Binary string          // if KindRow: the columns whose bytes are not text, with their type; mostly empty
	// Problem says, if KindEmitted, why the message is no event. It is empty for most.
	Problem string
	// Lack says, if KindRow, which columns the row lacks in the log. Their fields are empty. It is
	// nil for most, and for every row if [Decoder.Incomplete] is nil.
	Lack   *MissingColumnError
	Commit Commit // if KindCommit
}

// Begin starts a transaction. The server sends it after the transaction has committed.
type Begin struct {
	FinalLSN   pglogrepl.LSN // equals the CommitLSN of the Commit that follows
	CommitTime time.Time
	XID        uint32 // wraps around; the column xid does not
}

// Commit ends a transaction. The relay must confirm TransactionEndLSN: after CommitLSN the server
// would send the transaction again. https://github.com/jackc/pglogrepl/issues/40
type Commit struct {
	CommitLSN         pglogrepl.LSN
	TransactionEndLSN pglogrepl.LSN
	CommitTime        time.Time
}

// Decoder decodes the messages of one replication connection in the order of their arrival. It
// cannot continue on another connection, because the server describes each table once per
// connection. It is invalid after an error.
type Decoder struct {
	// ContainsBytes reports whether bytea is a part of a type: an array, a composite, a range. The
	// decoder calls it once for each type that is not built in. Nil means that no type has such a
	// part.
	ContainsBytes func(oid uint32) (bool, error)
	// Unknown is called with the oid and the name of a table that is one of several, by its name or
	// as a former one, and not one of those that are streamed. It returns the number of the table,
	// or [outbox.NoNumber] if its rows no longer exist. Its error ends the stream. Nil: no rows
	// exist.
	Unknown func(oid uint32, schema, name string) (number int64, err error)
	// Incomplete is called before rows that lack a column which the relay reads. The decoder
	// returns them with [Message.Lack]. Nil: they end the stream.
	Incomplete func(*MissingColumnError)
	// Emitted is the prefix of the messages of pg_logical_emit_message that are events. Empty: none
	// are.
	Emitted string

	table         outboxtable.Table
	constants     []constant
	relations     map[uint32]relation  // by OID, as this connection last described them
	bytesTypes    map[uint32]bytesType // by OID, as far as they are known
	values        []span               // of the current tuple; reused
	texts         texts
	message       Message // the last decoded message
	inTransaction bool
	finalLSN      pglogrepl.LSN // of the current transaction
	committedAt   time.Time     // of the current transaction
	noExtra       []string      // further columns of an emitted event, all empty
}

// NewDecoder returns a Decoder of rows of t.
func NewDecoder(t outboxtable.Table) *Decoder {
	d := &Decoder{
		table: t, noExtra: make([]string, len(t.Extra)), relations: map[uint32]relation{},
		bytesTypes: map[uint32]bytesType{
			byteaOID: {kind: "bytea"}, byteaArrayOID: {kind: "an array of bytea", within: true},
		},
	}
	for field, text := range t.Constants.Names() {
		if text != "" {
			d.constants = append(d.constants, constant{field, text})
		}
	}
	return d
}

// Decode reads one message. walData is valid only during the call, because pgproto3 reuses the
// buffer. The Message is valid until the next call. Its strings stay valid. After an error the
// stream cannot be continued.
func (d *Decoder) Decode(walData []byte) (*Message, error) {
	if len(walData) == 0 {
		return nil, fmt.Errorf("decode pgoutput message %s: it is empty", d.where())
	}
	d.message = Message{}
	r := reader{data: walData, next: 1}
	err := d.decode(walData[0], &r, &d.message)
	if err == nil {
		err = r.err
	}
	if err != nil {
		return nil, fmt.Errorf("decode pgoutput %s message %s: byte %d: %w", typeName(walData[0]), d.where(), r.next,
			err)
	}
	return &d.message, nil
}

// Release forgets the last message, whose row may have many MB. It is invalid from then on.
func (d *Decoder) Release() { d.message = Message{} }

// where returns the position in the stream, which every error contains.
func (d *Decoder) where() string {
	if !d.inTransaction {
		return "outside a transaction"
	}
	return fmt.Sprintf("in the transaction that commits at %s", d.finalLSN)
}

func (d *Decoder) decode(messageType byte, r *reader, m *Message) error {
	switch messageType {
	case 'B':
		return d.begin(r, m)
	case 'C':
		return d.commit(r, m)
	case 'R':
		return d.describe(r)
	case 'I':
		return d.insert(r, m)
	case 'U', 'D', 'T':
		return d.requireTransaction()
	case 'Y':
		return d.describeType(r)
	case 'M':
		return d.emitted(r, m)
	case 'O':
		return nil
	case 'S', 'E', 'c', 'A', 'b', 'P', 'K', 'r', 'p':
		return errors.New("it belongs to a newer protocol than the one asked for; start replication with " +
			"proto_version 1 and without streaming")
	}
	return errors.New("protocol version 1 knows no message of this type")
}

func (d *Decoder) begin(r *reader, m *Message) error {
	if d.inTransaction {
		return errors.New("the transaction before it has not ended")
	}
	begin := Begin{FinalLSN: r.lsn(), CommitTime: r.time(), XID: r.uint32()}
	if err := r.end(); err != nil {
		return err
	}
	d.inTransaction, d.finalLSN, d.committedAt = true, begin.FinalLSN, begin.CommitTime
	m.Kind, m.Begin = KindBegin, begin
	return nil
}

func (d *Decoder) commit(r *reader, m *Message) error {
	if err := d.requireTransaction(); err != nil {
		return err
	}
	r.uint8() // flags, unused
	commit := Commit{CommitLSN: r.lsn(), TransactionEndLSN: r.lsn(), CommitTime: r.time()}
	if err := r.end(); err != nil {
		return err
	}
	if commit.CommitLSN != d.finalLSN {
		return fmt.Errorf("it commits at %s", commit.CommitLSN)
	}
	d.inTransaction = false
	m.Kind, m.Commit = KindCommit, commit
	return nil
}

func (d *Decoder) requireTransaction() error {
	if !d.inTransaction {
		return errors.New("no transaction has begun")
	}
	return nil
}

// typeNames are the names of all messages in every version of the protocol.
var typeNames = map[byte]string{
	'B': "Begin", 'C': "Commit", 'R': "Relation", 'I': "Insert", 'U': "Update", 'D': "Delete", 'T': "Truncate",
	'Y': "Type", 'O': "Origin", 'M': "Message",
	'S': "Stream Start", 'E': "Stream Stop", 'c': "Stream Commit", 'A': "Stream Abort",
	'b': "Begin Prepare", 'P': "Prepare", 'K': "Commit Prepared", 'r': "Rollback Prepared", 'p': "Stream Prepare",
}

func typeName(messageType byte) string {
	if name, ok := typeNames[messageType]; ok {
		return name
	}
	return fmt.Sprintf("%q", messageType)
}
