package preflight

import "context"

// emitted names the guarantees that events without a row lack.
func (d *database) emitted(context.Context) Findings {
	if d.Emitted == "" {
		return nil
	}
	return Findings{degraded(CodeEmitted, "prefix "+d.Emitted, "messages with the prefix %s (RELAY_EMITTED) are "+
		"events without a row. They cannot wait in the table while their destination is unavailable or paused, and "+
		"cannot be replayed. If the slot is lost, those that were not delivered are lost too, and the relay ends: "+
		"relay recover --yes continues without them", d.Emitted)}
}
