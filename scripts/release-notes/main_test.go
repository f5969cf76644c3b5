package main

import (
	"os"
	"strings"
	"testing"
)

const changelog = `# Changelog

## Unreleased

### Added

- New.

## [0.2.0] - 2026-12-24

### Fixed

- Fixed.

## 0.1.1 - 2026-12-06

## 0.1.0 - 2026-12-01

- First.
`

func TestNotesAreTheSectionOfTheirVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"Unreleased": "### Added\n\n- New.\n", "0.2.0": "### Fixed\n\n- Fixed.\n", "v0.1.0": "- First.\n",
	} {
		var notes strings.Builder
		err := run([]string{version}, strings.NewReader(changelog), &notes)
		if err != nil || notes.String() != want {
			t.Errorf("%s: %v, %q", version, err, notes.String())
		}
	}
}

func TestAVersionWithoutNotesIsRefused(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{"0.1": "has no section", "0.1.1": "is empty", "3": "has no section"} {
		err := run([]string{version}, strings.NewReader(changelog), &strings.Builder{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", version, err, want)
		}
	}
}

func TestTheChangelogHasNotesOfTheNextRelease(t *testing.T) {
	t.Parallel()
	file, err := os.Open("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := section(file, "Unreleased"); err != nil {
		t.Error(err)
	}
}
