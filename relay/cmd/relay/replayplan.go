package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/outbox-relay/outbox-relay/relay/internal/replay"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// kindsShown is the number of event types that a plan lists.
const kindsShown = 30

// shown are the settings of the running relay that the plan needs for display.
type shown struct {
	Destination string `env:"RELAY_DESTINATION" placeholder:"ARN|URL" help:"Default destination."`
	Routes      string `env:"RELAY_ROUTES" placeholder:"ROUTES" help:"Destinations for some events."`
	Allowed     string `name:"allowed-destinations" env:"RELAY_ALLOWED_DESTINATIONS" placeholder:"ARNS" help:"Destinations that patterns may lead to."`
}

// show prints a plan.
func (c *replayCommand) show(w io.Writer, plan replay.Plan) error {
	router, err := c.router()
	if err != nil {
		return err
	}
	created := ""
	if plan.First != "" {
		created = fmt.Sprintf(", created from %s to %s", plan.First, plan.Last)
	}
	fmt.Fprintf(w, "%d events of %s%s\n", plan.Events, c.Table, created)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, kind := range plan.Kinds {
		if i == kindsShown {
			fmt.Fprintf(table, "  and %d more types\n", len(plan.Kinds)-i)
			break
		}
		fmt.Fprintf(table, "  %d\t%s\t%s\t%s\n", kind.Events, kind.AggregateType, kind.EventType,
			destinationOf(router, kind))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if plan.Undelivered > 0 {
		fmt.Fprintf(w, "excluded: %d that are not known to be delivered yet: the relay delivers them by itself, "+
			"and records a delivery a few seconds later\n", plan.Undelivered)
	}
	if plan.Parked > 0 {
		fmt.Fprintf(w, "excluded: %d that are parked: relay dead-letters redrive sends those\n", plan.Parked)
	}
	return nil
}

// router returns the router of the running relay if its settings are present, else nil.
func (c *replayCommand) router() (*route.Router, error) {
	if c.Destination == "" {
		return nil, nil
	}
	return route.Parse(route.Settings{Destination: c.Destination, Routes: c.Routes, Allowed: c.Allowed})
}

func destinationOf(router *route.Router, kind replay.Kind) string {
	if router == nil {
		return "to the destination in the relay's settings"
	}
	e := &outbox.Envelope{EventType: kind.EventType, AggregateType: kind.AggregateType}
	if pattern := router.Pattern(e); pattern != "" {
		return "by the pattern " + pattern
	}
	to := router.Route(e)
	if to == route.Dropped {
		return "dropped by RELAY_ROUTES"
	}
	return "to " + shortName(router.Destinations()[to])
}
