package preflight

import "context"

// emitted names the guarantees that events without a row lack, and finds a slot that has messages
// which this relay would not deliver.
func (d *database) emitted(ctx context.Context) Findings {
	object := "slot " + d.Slot
	var found Findings
	var stored string
	err := d.Pool.QueryRow(ctx, `
		SELECT coalesce((SELECT c.emitted FROM relay_checkpoints c WHERE c.slot_name = $1), '')`, d.Slot).Scan(&stored)
	switch {
	case err != nil: // the finding about the relay's tables says why
	case stored != "" && stored != d.Emitted:
		found = append(found, failed(CodeEmitted, object, "the slot brings messages with the prefix %s, which "+
			"RELAY_EMITTED does not name: they would be confirmed without being delivered. Set RELAY_EMITTED=%s, or "+
			"run the statement to continue without those that are not delivered", stored, stored).
			with("relay recover --without-messages --yes"))
	}
	if d.Emitted == "" {
		return found
	}
	return append(found, degraded(CodeEmitted, "prefix "+d.Emitted, "messages with the prefix %s (RELAY_EMITTED) are "+
		"events without a row. They cannot wait in the table while their destination is unavailable or paused, and "+
		"cannot be replayed. If the slot is lost, those that were not delivered are lost too, and the relay ends: "+
		"relay recover --yes continues without them", d.Emitted))
}
