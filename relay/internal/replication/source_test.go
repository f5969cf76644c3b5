package replication

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

// server is the peer of a connection. Each read returns at most this many bytes.
type server struct {
	sends int
	err   error
}

func (s *server) Read(p []byte) (int, error) {
	return min(s.sends, len(p)), s.err
}

// TestBytesArriveAsTheyWereSent, whatever the sizes of the pieces are.
func TestBytesArriveAsTheyWereSent(t *testing.T) {
	t.Parallel()
	sent := bytes.Repeat([]byte("0123456789abcdef!"), 3*sourceSize/10)
	s := newSource(bytes.NewReader(sent))
	if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes, %v, want the %d that were sent", len(got), err, len(sent))
	}
}

// TestAnErrorComesAfterTheBytesBeforeIt: a reader may return both at once.
func TestAnErrorComesAfterTheBytesBeforeIt(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection reset")
	reset := &server{sends: 10, err: broken}
	s := newSource(reset)
	if n, err := s.Read(make([]byte, 100)); n != 10 || err != nil {
		t.Errorf("%d bytes, %v, want 10 without an error", n, err)
	}
	reset.sends = 0
	if n, err := s.Read(make([]byte, 100)); n != 0 || !errors.Is(err, broken) {
		t.Errorf("%d bytes, %v, want the error", n, err)
	}
}

// TestArrivedBytesAreReadBeforeWaiting: the check runs only when the buffer is empty, and its error
// replaces the wait.
func TestArrivedBytesAreReadBeforeWaiting(t *testing.T) {
	t.Parallel()
	s := newSource(&server{sends: 10})
	checks := 0
	s.beforeRead = func(time.Time) error {
		checks++
		if checks > 1 {
			return os.ErrDeadlineExceeded
		}
		return nil
	}
	for piece := range 5 {
		if n, err := s.Read(make([]byte, 2)); n != 2 || err != nil || checks != 1 {
			t.Errorf("piece %d: %d bytes, %v, after %d checks", piece, n, err, checks)
		}
	}
	if n, err := s.Read(make([]byte, 2)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes, %v, want the check's error", n, err)
	}
}
