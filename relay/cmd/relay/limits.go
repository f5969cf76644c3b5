package main

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// checkBus checks the settings of event buses by the rules of EventBridge, which would refuse every
// event.
// https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html
func (s *relaySettings) checkBus() error {
	switch {
	case s.BusSource == "" || utf8.RuneCountInString(s.BusSource) > 256:
		return fmt.Errorf("RELAY_EVENTBRIDGE_SOURCE %q: write 1 to 256 characters", s.BusSource)
	case strings.HasPrefix(s.BusSource, "aws."):
		return fmt.Errorf("RELAY_EVENTBRIDGE_SOURCE %q: sources that begin with aws. are those of AWS' own services",
			s.BusSource)
	case utf8.RuneCountInString(s.BusType) > 128:
		return fmt.Errorf("RELAY_EVENTBRIDGE_DETAIL_TYPE %q: write at most 128 characters", s.BusType)
	}
	return nil
}

// outOfRange returns a problem for each value that is too small, and for values that exclude each
// other.
func (s *relaySettings) outOfRange() (problems []error) {
	for _, err := range []error{
		atLeast("RELAY_WAL_SENDER_TIMEOUT", s.WALSenderTimeout, minWALSenderTimeout),
		atLeast("RELAY_DRAIN_TIMEOUT", s.DrainTimeout, 0),
		s.checkRetention(),
		s.checkBus(),
		atLeast("RELAY_METRICS_INTERVAL", s.MetricsInterval, minMetricsInterval),
		atLeast("RELAY_REQUEST_TIMEOUT", s.Timeout, 100*time.Millisecond),
		atLeast("RELAY_RETRY_MAX", s.RetryMax, 100*time.Millisecond),
		atLeast("RELAY_LINGER", s.Linger, 0),
		s.checkParking(),
		atLeast("RELAY_MAX_DESTINATIONS", s.MaxPatterned, 1),
		atLeast("RELAY_IN_FLIGHT", s.InFlight, 0),
		atLeast("RELAY_MAX_RATE", s.MaxRate, 0),
		atLeast("RELAY_MAX_EVENT_BYTES", s.MaxEvent, outbox.MaxPayload),
		atLeast("RELAY_WINDOW_EVENTS", s.WindowEvents, 10),
		atLeast("RELAY_WINDOW_BYTES", s.WindowBytes, minWindowBytes),
	} {
		if err != nil {
			problems = append(problems, err)
		}
	}
	return problems
}

func (s *relaySettings) checkParking() error {
	if s.ParkAfter > 0 && s.OnRejected == string(delivery.Halt) {
		return errors.New("RELAY_PARK_AFTER parks events that cannot wait in the outbox table, and " +
			"RELAY_ON_REJECTED=halt forbids to park any: set one of them")
	}
	return atLeast("RELAY_PARK_AFTER", s.ParkAfter, 0)
}

func (s *relaySettings) checkRetention() error {
	switch {
	case s.Retention == 0:
		return nil
	case s.ColumnSequence == "" || s.ColumnXID == "":
		return errors.New("RELAY_RETENTION needs the columns in RELAY_COLUMN_SEQUENCE and RELAY_COLUMN_XID, which " +
			"show the rows that are delivered: name them, or unset it")
	case s.ColumnCreatedAt == "":
		return errors.New("RELAY_RETENTION needs a column with the time of the event: name it in " +
			"RELAY_COLUMN_CREATED_AT")
	}
	return atLeast("RELAY_RETENTION", s.Retention, minRetention)
}

func atLeast[T int | time.Duration](setting string, value, least T) error {
	if value >= least {
		return nil
	}
	return fmt.Errorf("%s is %v, and must be at least %v", setting, value, least)
}
