package main

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/recovery"
)

// recoverForm is the JSON form of relay recover.
type recoverForm struct {
	Version    int             `json:"version"`
	Slot       string          `json:"slot"`
	SlotExists bool            `json:"slot_exists"`
	SlotActive bool            `json:"slot_active"` // a relay or another program holds it
	WALStatus  string          `json:"wal_status,omitempty"`
	Checkpoint *checkpointForm `json:"checkpoint,omitempty"`
	Gap        string          `json:"gap,omitempty"` // why the slot may not bring every event
	Plan       *recoveryForm   `json:"plan,omitempty"`
	Withdrawal string          `json:"withdrawal,omitempty"` // the request that --cancel withdraws
	Action     string          `json:"action"`               // none | marked | marked_already | withdrawn | messages_given_up
}

type checkpointForm struct {
	FlushLSN       string    `json:"flush_lsn"`
	WrittenAt      time.Time `json:"written_at"`
	AnotherCluster bool      `json:"another_cluster"` // its positions mean nothing in this one
}

// recoveryForm says which rows a recovery publishes.
type recoveryForm struct {
	Everything   bool       `json:"everything"`      // no row counts as delivered
	Since        string     `json:"since,omitempty"` // older rows count as delivered
	Rows         *int64     `json:"rows,omitempty"`  // absent if counting them took too long
	OldestAt     *time.Time `json:"oldest_at,omitempty"`
	ImportedRows bool       `json:"imported_rows"` // their transaction ids are of another cluster
	// AcceptsLoss: no row is published, and events that the slot does not bring may be lost.
	AcceptsLoss bool `json:"accepts_loss,omitempty"`
}

func (f *recoverForm) situation(s recovery.Situation) {
	f.Gap = s.Gap
	f.SlotExists, f.SlotActive, f.WALStatus = s.Slot.Exists, s.Slot.Active, s.Slot.WALStatus
	if s.Row != nil {
		f.Checkpoint = &checkpointForm{
			FlushLSN: s.Row.Position.FlushLSN.String(), WrittenAt: s.Row.UpdatedAt,
			AnotherCluster: s.System != "" && s.Row.SystemIdentifier != s.System,
		}
	}
}

func (f *recoverForm) plan(s recovery.Situation, p recovery.Plan) {
	if !p.ReadsTable() {
		f.Plan = &recoveryForm{AcceptsLoss: true}
		return
	}
	f.Plan = &recoveryForm{Everything: p.From == recovery.NothingDelivered, Since: p.Since, ImportedRows: s.Imported}
	if p.Counted {
		f.Plan.Rows = &p.Rows
	}
	if !p.Oldest.IsZero() {
		f.Plan.OldestAt = &p.Oldest
	}
}
