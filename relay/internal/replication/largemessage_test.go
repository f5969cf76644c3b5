package replication

import (
	"bytes"
	"io"
	"testing"
	"time"
	"weak"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/outbox-relay/outbox-relay/relay/internal/largemessage"
)

// TestALargeMessageLeavesNoBuffer, and the messages behind it arrive. It is not parallel, because a
// buffer that returned to the pool could be that of another test at once.
func TestALargeMessageLeavesNoBuffer(t *testing.T) {
	for _, length := range []int{largemessage.Length, largemessage.Length + 1, 10 << 20, 40 << 20} {
		var sent []byte
		for _, size := range []int{10, length, 20, 30} {
			var err error
			if sent, err = (&pgproto3.CopyData{Data: make([]byte, size)}).Encode(sent); err != nil {
				t.Fatal(err)
			}
		}
		s := newSource(bytes.NewReader(sent))
		frontend := pgproto3.NewFrontend(s, io.Discard)
		var sizes []int
		for range 4 {
			message, err := frontend.Receive()
			if err != nil {
				t.Fatal(err)
			}
			data := message.(*pgproto3.CopyData).Data
			if sizes = append(sizes, len(data)); len(data) < largemessage.Length {
				continue
			}
			buffer := weak.Make(&data[0])
			message.(*pgproto3.CopyData).Data = nil
			if err := s.releaseBuffer(frontend.Receive); err != nil {
				t.Fatal(err)
			}
			if buffer.Value() != nil {
				t.Errorf("the buffer of %d bytes is still there", length)
			}
		}
		if sizes[0] != 10 || sizes[1] != length || sizes[2] != 20 || sizes[3] != 30 {
			t.Errorf("received messages of %v bytes", sizes)
		}
	}
}

// TestTheStreamTakesATurnForALargeMessage, and keeps it until the buffer is free. The stream waits
// for no turn that does not come, because a status update is due.
func TestTheStreamTakesATurnForALargeMessage(t *testing.T) {
	t.Parallel()
	sent, err := (&pgproto3.CopyData{Data: make([]byte, 5<<20)}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newSource(bytes.NewReader(append(sent, sent...)))
	frontend := pgproto3.NewFrontend(s, io.Discard)
	s.turns, s.patience = largemessage.New(), time.Hour
	receive := func() {
		if _, err := frontend.Receive(); err != nil {
			t.Fatal(err)
		}
	}
	receive()
	if s.endTurn == nil {
		t.Error("the stream received a large message without the turn")
	}
	if err := s.releaseBuffer(frontend.Receive); err != nil {
		t.Fatal(err)
	}
	defer s.turns.Take(time.Hour)()
	s.patience = 50 * time.Millisecond
	began := time.Now()
	receive()
	if waited := time.Since(began); waited < s.patience {
		t.Errorf("the stream waited %v for its turn, want %v", waited, s.patience)
	}
}

// TestAMessageBehindALargeOneIsNotLost: if a buffer had more than one message, the session ends.
func TestAMessageBehindALargeOneIsNotLost(t *testing.T) {
	t.Parallel()
	s := newSource(bytes.NewReader(nil))
	buffered := func() (pgproto3.BackendMessage, error) { return &pgproto3.CopyData{}, nil }
	if err := s.releaseBuffer(buffered); err == nil {
		t.Error("a message was dropped")
	}
}
