package preflight

import (
	"context"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/route"
)

// Routes says which events RELAY_ROUTES sends nowhere, and which ones a pattern leads. A rule that
// drops events deserves a line of its own, because no other finding and no error shows it.
func Routes(ctx context.Context, router *route.Router, progress Progress) Findings {
	return Requirement{"the settings", func(context.Context) Findings {
		var found Findings
		if drops := router.Drops(); len(drops) > 0 {
			found = append(found, passed(CodeRoutes, "RELAY_ROUTES", "RELAY_ROUTES drops the events of %s: they are "+
				"sent nowhere, and relay_events_dropped_total counts them", strings.Join(drops, ", ")))
		}
		if patterns := router.Patterns(); len(patterns) > 0 {
			found = append(found, passed(CodeRoutes, "RELAY_ROUTES", "patterns lead to %d destinations: %s. %s",
				router.Allowed(), strings.Join(patterns, ", "), router.Otherwise()))
		}
		return found
	}}.Run(ctx, progress)
}
