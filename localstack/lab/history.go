package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

type checkHistoryCmd struct {
	Files []string `arg:"" type:"existingfile" help:"Histories as JSON lines (see relay/docs/proof.md)."`
}

// errPromiseBroken reports that a history broke a promise, which the output names.
var errPromiseBroken = errors.New("a promise was broken")

// Run prints the verdict of each history, and fails if one broke a promise.
func (c *checkHistoryCmd) Run() error {
	var broken error
	for _, path := range c.Files {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		intact, err := printVerdict(os.Stdout, path, file)
		if err = errors.Join(err, file.Close()); err != nil {
			return fmt.Errorf("check the history %s: %w", path, err)
		}
		if !intact {
			broken = errPromiseBroken
		}
	}
	return broken
}

// printVerdict checks the history in file and prints each violation. It reports whether every
// promise was kept.
func printVerdict(out io.Writer, name string, file io.Reader) (intact bool, err error) {
	history, err := checker.Read(file)
	if err != nil {
		return false, err
	}
	report := checker.Check(history)
	repeated := 0
	for _, n := range report.Duplicates {
		repeated += n
	}
	fmt.Fprintf(out, "%s: %d committed events, %d receipts, %d of them repeated by a fault, %d dead letters, "+
		"%d violations\n", name, report.Committed, len(history.Receipts), repeated, report.Parked,
		len(report.Violations))
	for _, v := range report.Violations {
		fmt.Fprintf(out, "  %s\n", v)
	}
	return len(report.Violations) == 0, nil
}
