package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// LogRequest selects a log.
type LogRequest struct {
	Part   string // relay, postgres or broker
	Lines  int    // from the end
	Follow bool   // continue until the context ends
	Out    io.Writer
}

var logParts = []string{"relay", "postgres", "broker"}

// Logs prints the last lines of the log of one part.
func (s *Stack) Logs(ctx context.Context, request LogRequest) error {
	if !slices.Contains(logParts, request.Part) {
		return fmt.Errorf("there is no part %q: PART is relay, postgres or broker", request.Part)
	}
	state, err := s.load()
	if err != nil {
		return err
	}
	if state == nil { // the logs of the last stack of processes remain
		return (&supervised{Stack: s}).logs(ctx, request)
	}
	w, err := s.wayNamed(state.Way)
	if err != nil {
		return err
	}
	s.Ports = state.Ports
	return w.logs(ctx, request)
}

// seekToLastLines positions file at its last lines.
func seekToLastLines(file io.ReadSeeker, lines int) error {
	const window = 256 << 10 // enough for the last lines of any request
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	start := max(0, end-window)
	if _, err := file.Seek(start, io.SeekStart); err != nil {
		return err
	}
	content := make([]byte, end-start)
	if _, err := io.ReadFull(file, content); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	offset := len(content)
	for range lines + 1 {
		if offset = bytes.LastIndexByte(content[:offset], '\n'); offset < 0 {
			break
		}
	}
	_, err = file.Seek(start+int64(offset)+1, io.SeekStart)
	return err
}
