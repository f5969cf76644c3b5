package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/control"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

type checkCommand struct {
	relaySettings
	JSON bool `name:"json" help:"Print the findings as JSON."`
}

// checkForm is the JSON form of the findings.
type checkForm struct {
	Version  int                `json:"version"`
	Level    preflight.Level    `json:"level"` // the worst of the findings
	Findings preflight.Findings `json:"findings"`
}

// Run prints the findings for these settings in the order of the checks.
func (c *checkCommand) Run(ctx context.Context, w io.Writer) error {
	progress := preflight.Progress{
		Found:   func(f preflight.Finding) { printFinding(w, f) },
		Waiting: showWait,
	}
	if c.JSON {
		progress.Found = nil
	}
	_, found := c.prepare(ctx, c.logger(os.Stderr), progress)
	found = append(found, c.checkRelay(ctx, progress, found)...)
	if c.JSON {
		if err := printJSON(w, checkForm{formatVersion, found.Level(), found}); err != nil {
			return err
		}
	}
	switch {
	case found.Level() == preflight.Error:
		return errors.New("relay run would not start: fix the findings with the level error")
	case c.JSON:
		return nil
	}
	_, err := fmt.Fprintln(w, "relay run would start")
	return err
}

// checkRelay compares the settings with a relay that runs. It does not ask a database that has not
// answered before.
func (c *checkCommand) checkRelay(
	ctx context.Context, progress preflight.Progress, before preflight.Findings,
) (found preflight.Findings) {
	var pool *pgxpool.Pool
	if !before.Has(preflight.CodeDatabase, preflight.Error) {
		var err error
		if pool, err = control.OpenPool(ctx, c.connect); err == nil {
			defer control.Close(pool)
			found = preflight.RelayRole(ctx, pool, c.Slot, progress)
		}
	}
	if c.Listen != "" {
		found = append(found, preflight.Listener{Address: c.Listen, Slot: c.Slot, Pool: pool}.Check(ctx, progress)...)
	}
	return found
}

// printFinding prints a finding on one line, and each of its statements on a line of its own, so
// that the operator can copy them.
func printFinding(w io.Writer, f preflight.Finding) {
	fmt.Fprintf(w, "%-9s %-16s %s\n", f.Level, f.Code, f.Explanation)
	for _, line := range f.Lines() {
		fmt.Fprintf(w, "%27s%s\n", "", line)
	}
}
