package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/outbox-relay/outbox-relay/relay/internal/compare"
)

// compareCommand compares what the relay and another publisher delivered.
type compareCommand struct {
	First  string `arg:"" help:"File with the deliveries of the former publisher: one event id a line, in order, and after a tab the aggregate, if there is one. - reads stdin."`
	Second string `arg:"" help:"File with the deliveries of the relay, in the same form."`
	JSON   bool   `name:"json" help:"Print the result as JSON."`
}

// compareForm is the JSON form of a comparison.
type compareForm struct {
	Version int  `json:"version"`
	Agrees  bool `json:"agrees"`
	compare.Result
}

// Run prints the differences, and returns an error if there are any.
func (c *compareCommand) Run(_ context.Context, w io.Writer) error {
	first, err := readList(c.First)
	if err != nil {
		return err
	}
	second, err := readList(c.Second)
	if err != nil {
		return err
	}
	result := compare.Of(first, second)
	if c.JSON {
		err = printJSON(w, compareForm{formatVersion, result.Agrees(), result})
	} else {
		err = c.print(w, result)
	}
	if err == nil && !result.Agrees() {
		err = errors.New("the files do not agree")
	}
	return err
}

func readList(name string) (*compare.List, error) {
	file := os.Stdin
	if name != "-" {
		var err error
		if file, err = os.Open(name); err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
	}
	list, err := compare.Read(file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return list, nil
}

func (c *compareCommand) print(w io.Writer, r compare.Result) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\t%s\t%s\n", c.First, c.Second)
	for _, row := range []struct {
		name          string
		first, second int
	}{
		{"events", r.First.Events, r.Second.Events},
		{"in both", r.Both, r.Both},
		{"repeated deliveries", r.First.Repeated, r.Second.Repeated},
		{"alone, before the first of both", r.First.Before, r.Second.Before},
		{"alone, after the last of both", r.First.After, r.Second.After},
		{"alone, between", len(r.First.Only), len(r.Second.Only)},
	} {
		fmt.Fprintf(table, "%s\t%d\t%d\n", row.name, row.first, row.second)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	printOnly(w, c.First, r.First.Only)
	printOnly(w, c.Second, r.Second.Only)
	for i, pair := range r.Reordered {
		if i == shownDifferences {
			fmt.Fprintf(w, "… and %d more aggregates: --json has all\n", len(r.Reordered)-i)
			break
		}
		fmt.Fprintf(w, "aggregate %s: %s is before %s in %s, and after it in %s\n",
			pair.Group, pair.First, pair.Second, c.First, c.Second)
	}
	return nil
}

// shownDifferences bounds the lines of each kind of difference.
const shownDifferences = 20

func printOnly(w io.Writer, file string, ids []string) {
	if len(ids) == 0 {
		return
	}
	shown, rest := ids[:min(len(ids), shownDifferences)], ""
	if len(ids) > len(shown) {
		rest = fmt.Sprintf(" … and %d more: --json has all", len(ids)-len(shown))
	}
	fmt.Fprintf(w, "only in %s: %s%s\n", file, strings.Join(shown, " "), rest)
}
