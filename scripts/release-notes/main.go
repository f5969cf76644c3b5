// Command release-notes prints the section of CHANGELOG.md that belongs to a version, as the notes
// of its release.
//
//	go run ./scripts/release-notes 0.1.0 <CHANGELOG.md
//	go run ./scripts/release-notes Unreleased <CHANGELOG.md
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release-notes:", err)
		os.Exit(1)
	}
}

func run(args []string, changelog io.Reader, w io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: release-notes VERSION <CHANGELOG.md")
	}
	notes, err := section(changelog, strings.TrimPrefix(args[0], "v"))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, notes)
	return err
}

// section returns the text below the heading of a version, up to the next version.
func section(changelog io.Reader, version string) (string, error) {
	var text strings.Builder
	found := false
	lines := bufio.NewScanner(changelog)
	for lines.Scan() {
		heading, isHeading := strings.CutPrefix(lines.Text(), "## ")
		switch {
		case isHeading && found:
			return notEmpty(text.String(), version)
		case isHeading:
			found = isVersion(heading, version)
		case found:
			fmt.Fprintln(&text, lines.Text())
		}
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("read the changelog: %w", err)
	}
	if !found {
		return "", fmt.Errorf("the changelog has no section %q: rename Unreleased to \"## %s - YYYY-MM-DD\"", version,
			version)
	}
	return notEmpty(text.String(), version)
}

// isVersion reports whether a heading names a version, with or without brackets and a date.
// https://keepachangelog.com/en/1.1.0/
func isVersion(heading, version string) bool {
	name, _, _ := strings.Cut(heading, " - ")
	return strings.Trim(strings.TrimSpace(name), "[]") == version
}

func notEmpty(text, version string) (string, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return "", fmt.Errorf("the section %q of the changelog is empty", version)
	}
	return text, nil
}
