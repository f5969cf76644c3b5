// Package pgsnapshot reads a pg_snapshot: which transactions had ended when it was taken.
package pgsnapshot

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Snapshot is a set of visible transactions. The zero Snapshot is empty.
// https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT-PARTS
type Snapshot struct {
	text string
	xmax uint64   // transactions from xmax on are not visible
	xip  []uint64 // below xmax and not visible; sorted
}

// Parse reads the text of a pg_snapshot.
func Parse(text string) (Snapshot, error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return Snapshot{}, fmt.Errorf("read snapshot %q: it has no three parts", text)
	}
	s := Snapshot{text: text}
	var err error
	if s.xmax, err = ParseXID(parts[1]); err != nil {
		return Snapshot{}, fmt.Errorf("read snapshot %q: %w", text, err)
	}
	for running := range strings.SplitSeq(parts[2], ",") {
		if running == "" {
			continue
		}
		xid, err := ParseXID(running)
		if err != nil {
			return Snapshot{}, fmt.Errorf("read snapshot %q: %w", text, err)
		}
		s.xip = append(s.xip, xid)
	}
	slices.Sort(s.xip)
	return s, nil
}

// ParseXID reads the text of an xid8.
func ParseXID(text string) (uint64, error) { return strconv.ParseUint(text, 10, 64) }

// String returns the snapshot in Postgres' format.
func (s Snapshot) String() string { return s.text }

// Visible reports whether the transaction's changes are visible.
func (s Snapshot) Visible(xid uint64) bool {
	if xid >= s.xmax {
		return false
	}
	_, running := slices.BinarySearch(s.xip, xid)
	return !running
}

// Writer returns the low half of the xid of a row, which is the text of an xid8, or zero if s does
// not show that transaction: the xid is made up or that of another cluster, and no pass of a
// deferral would find the row.
func (s Snapshot) Writer(xid string) uint32 {
	number, err := ParseXID(xid)
	if err != nil || !s.Visible(number) {
		return 0
	}
	return uint32(number)
}

// IsPast reports whether every transaction below xid has ended.
func (s Snapshot) IsPast(xid uint64) bool { return s.Xmin() >= xid }

// Covers reports whether s shows every transaction that another snapshot shows.
func (s Snapshot) Covers(other Snapshot) bool {
	return s.xmax >= other.xmax && !slices.ContainsFunc(s.xip, other.Visible)
}

// Next returns the lowest transaction id that was not assigned yet.
func (s Snapshot) Next() uint64 { return s.xmax }

// Xmin returns the lowest transaction that had not ended. Every one below it had.
func (s Snapshot) Xmin() uint64 {
	if len(s.xip) > 0 {
		return s.xip[0]
	}
	return s.xmax
}

// Running returns the transactions below Next that had not ended.
func (s Snapshot) Running() []uint64 { return s.xip }

// After returns s with every transaction up to an xid visible.
func (s Snapshot) After(baseline uint64) Snapshot {
	first, _ := slices.BinarySearch(s.xip, baseline+1)
	return Snapshot{text: s.text, xmax: max(s.xmax, baseline+1), xip: s.xip[first:]}
}
