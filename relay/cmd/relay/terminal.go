package main

import (
	"fmt"
	"io"
	"slices"
	"unicode"
	"unicode/utf8"
)

// clearScreen is the escape sequence that clears a terminal and puts its cursor at the top.
const clearScreen = "\x1b[2J\x1b[H"

// terminal writes text that has words of others, such as the type of an event. Their control
// characters could command the terminal of an operator. It writes them in the form of JSON, in
// which JSON text means the same. Line feeds and tabs stay.
type terminal struct {
	out  io.Writer
	part []byte // of a character that the next Write completes
}

func (t *terminal) Write(p []byte) (int, error) {
	var safe []byte
	text := slices.Concat(t.part, p)
	for len(text) > 0 && utf8.FullRune(text) {
		r, size := utf8.DecodeRune(text)
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			safe = fmt.Appendf(safe, `\u%04x`, r)
		} else {
			safe = utf8.AppendRune(safe, r) // bytes that are no UTF-8 become U+FFFD
		}
		text = text[size:]
	}
	t.part = text
	if _, err := t.out.Write(safe); err != nil {
		return 0, err
	}
	return len(p), nil
}

// clear clears the screen.
func (t *terminal) clear() error {
	_, err := io.WriteString(t.out, clearScreen)
	return err
}
