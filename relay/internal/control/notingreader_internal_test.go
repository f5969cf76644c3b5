package control

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/outbox-relay/outbox-relay/relay/internal/largemessage"
)

// TestALargeRowIsNotedBeforeItsBuffer: pgproto3 allocates the buffer once it has the head of the
// message, however the bytes arrive.
func TestALargeRowIsNotedBeforeItsBuffer(t *testing.T) {
	t.Parallel()
	large := make([]byte, largemessage.Length)
	var sent []byte
	head := 0 // end of the head of the first large row
	for _, values := range [][][]byte{{large[:10]}, {large}, {large[:20]}, {large, large}, {nil}} {
		var err error
		if sent, err = (&pgproto3.DataRow{Values: values}).Encode(sent); err != nil {
			t.Fatal(err)
		}
		if head == 0 {
			head = len(sent) + headLength
		}
	}
	for name, reader := range map[string]func(io.Reader) io.Reader{
		"whole":        func(r io.Reader) io.Reader { return r },
		"byte by byte": iotest.OneByteReader,
		"halves":       iotest.HalfReader,
	} {
		noted := &carried{}
		r := &notingReader{r: reader(bytes.NewReader(sent)), noted: noted}
		var got []byte
		piece := make([]byte, 8<<10)
		for {
			n, err := r.Read(piece)
			if got = append(got, piece[:n]...); errors.Is(err, io.EOF) {
				break
			}
			if hasHead, isNoted := len(got) >= head, noted.done != nil; hasHead != isNoted {
				t.Fatalf("%s: noted %v after %d bytes, and the head ends after %d", name, isNoted, len(got), head)
			}
		}
		if !bytes.Equal(got, sent) {
			t.Errorf("%s: %d bytes, want %d", name, len(got), len(sent))
		}
	}
}
