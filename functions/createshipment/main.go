// Command createshipment is the Lambda function that writes a shipment for each event
// order.created of its queue.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/outbox-relay/outbox-relay/functions/internal/function"
	"github.com/outbox-relay/outbox-relay/functions/internal/shipment"
)

func main() {
	err := function.Run(context.Background(), "createshipment", os.Getenv, os.Stdout, shipment.Handler)
	if err != nil {
		fmt.Fprintln(os.Stderr, "createshipment:", err)
		os.Exit(1)
	}
}
