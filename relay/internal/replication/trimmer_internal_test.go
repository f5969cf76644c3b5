package replication

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func frame(kind byte, body string) string {
	length := binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)) //nolint:gosec // of a test
	return string(kind) + string(length) + body
}

// logged returns a CopyData with a message of the log.
func logged(kind string, bytes int) string {
	return "w" + strings.Repeat("\x01", 24) + kind + strings.Repeat("x", bytes)
}

// TestOnlyLongMessagesAreTrimmed: everything else passes byte for byte, however the bytes arrive.
func TestOnlyLongMessagesAreTrimmed(t *testing.T) {
	t.Parallel()
	const long = longestMessage + 1000
	before := frame('S', "name\x00value\x00") + frame('W', "\x00\x00\x00") +
		frame('d', "k"+strings.Repeat("\x02", 17)) +
		frame('d', logged("I", long)) + frame('d', logged("M", 100)) + frame('d', "k"+strings.Repeat("M", long))
	after := frame('d', logged("B", 20)) + frame('c', "")
	sent := before + frame('d', logged("M", long)) + after + frame('d', logged("M", 2*long)) + after
	kept := frame('d', logged("M", long)[:keptOfMessage])
	want := before + kept + after + kept + after
	for name, reader := range map[string]io.Reader{
		"whole": strings.NewReader(sent), "halves": iotest.HalfReader(strings.NewReader(sent)),
		"data with the error": iotest.DataErrReader(strings.NewReader(sent)),
		"pieces":              &pieces{text: sent},
	} {
		got, err := io.ReadAll(&untilEOF{&trimmer{conn: reader}})
		if err != nil || !bytes.Equal(got, []byte(want)) {
			t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(want))
		}
	}
}

// pieces returns 1, 2, 3 ... bytes, and a timeout before each of the first pieces.
type pieces struct {
	text string
	size int
	told bool
}

func (p *pieces) Read(to []byte) (int, error) {
	if len(p.text) == 0 {
		return 0, io.EOF
	}
	if p.told = !p.told; p.told && p.size < 200 {
		return 0, iotest.ErrTimeout
	}
	p.size++
	n := copy(to, p.text[:min(p.size, len(p.text))])
	p.text = p.text[n:]
	return n, nil
}

// untilEOF reads again after a timeout.
type untilEOF struct{ io.Reader }

func (r *untilEOF) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == iotest.ErrTimeout { //nolint:errorlint // as it is returned
		err = nil
	}
	return n, err
}
