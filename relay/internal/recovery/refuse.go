package recovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

func (o Operator) refuse(ctx context.Context, s Situation, r Request) error {
	if r.AcceptLoss || !o.Table.IsRepairable() {
		return o.refuseLoss(s, r)
	}
	switch {
	case !r.Since.IsZero():
		return s.refuseSince(r.Since)
	case s.Row == nil:
		return fmt.Errorf("slot %s has no checkpoint from which a recovery could begin: run relay run, which "+
			"creates one. RELAY_START decides whether it publishes the existing rows. For rows that were copied "+
			"from another cluster, run relay recover --since=TIME", o.Slot)
	case r.TrustHorizon:
		return o.refuseTrust(ctx, s)
	case s.Row.SystemIdentifier != s.System:
		return errors.New(AnotherCluster(s.Row, s.System))
	}
	return nil
}

// refuseLoss refuses to lose events without need, and to read a table that does not show them.
func (o Operator) refuseLoss(s Situation, r Request) error {
	switch {
	case o.Table.IsRepairable():
		return errors.New("the table shows which events were not delivered, so none need be lost: run relay recover " +
			"without --accept-loss")
	case !r.AcceptLoss:
		return fmt.Errorf("%s, so it does not show which events were not delivered, and none can be published from "+
			"it. relay recover --accept-loss shows what may be lost, and continues without it",
			outboxtable.WhyNotRepairable(o.Table))
	case s.Row == nil:
		return fmt.Errorf("slot %s has no checkpoint, so nothing was lost: run relay run with RELAY_START=now", o.Slot)
	case s.Gap == "":
		return fmt.Errorf("nothing is lost: slot %s brings every event that is not delivered", o.Slot)
	}
	return nil
}

// refuseSince refuses to discard a horizon, which says more precisely which rows are delivered.
func (s Situation) refuseSince(since time.Time) error {
	ofThisCluster := s.Row != nil && s.Row.SystemIdentifier == s.System
	switch {
	case since.After(time.Now()):
		return fmt.Errorf("--since=%s is in the future: rows written until then would count as delivered",
			since.Format(time.RFC3339))
	case ofThisCluster && (s.Row.Recovery == nil || s.Row.Recovery.Since == ""):
		return errors.New("the checkpoint belongs to this cluster, and its horizon says which rows are delivered: " +
			"--since would exclude older rows that are not. Run relay recover without --since")
	}
	return nil
}

// refuseTrust refuses a horizon whose transaction ids cannot be those of this cluster.
func (o Operator) refuseTrust(ctx context.Context, s Situation) error {
	const instead = "Run relay recover --since=TIME instead, with the last time up to which you know that all events " +
		"were delivered"
	if s.Row.SystemIdentifier == s.System {
		return errors.New("the checkpoint belongs to this cluster, so there is nothing to trust: " +
			"run relay recover without --trust-horizon")
	}
	horizon := s.Row.Horizon
	if s.Row.Recovery != nil {
		horizon = s.Row.Recovery.From
	}
	if horizon == "" {
		return errors.New("the checkpoint has no horizon. " + instead)
	}
	var reaches string
	var later bool
	err := o.Pool.QueryRow(ctx, `
		SELECT pg_snapshot_xmax(h)::text, pg_snapshot_xmax(h) > $2::text::xid8
		FROM (SELECT $1::text::pg_snapshot) AS horizon (h)`, horizon, s.nextXID).Scan(&reaches, &later)
	switch {
	case err != nil:
		return fmt.Errorf("compare the horizon with this cluster's transaction ids: %w", err)
	case later:
		return fmt.Errorf("the horizon reaches up to transaction %s, and the next transaction of this cluster is %s: "+
			"transaction ids were not kept, so pg_upgrade did not create this cluster. New rows would count as "+
			"delivered. %s",
			reaches, s.nextXID, instead)
	case s.Imported:
		return fmt.Errorf("the table has rows with higher transaction ids than the next one of this cluster, %s: "+
			"transaction ids were not kept, so pg_upgrade did not create this cluster. %s", s.nextXID, instead)
	}
	return nil
}
