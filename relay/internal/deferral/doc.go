// Package deferral lets events wait in the outbox table: those of an unavailable or paused
// destination, those of an aggregate that uses up its share of the window, and those behind a dead
// letter of their aggregate. The table keeps every event until retention removes it. So one row of
// outbox_deferrals is enough for all of them, and none needs a dead letter or a place in the
// window.
//
// # The predicate
//
// A row of the outbox table is done for a deferral if and only if it is visible in known and its
// seq is below from_seq ([NotDoneSQL], and done in Go). Neither half is enough:
//
//	seq alone       a transaction with a lower seq commits after a higher one was read
//	snapshot alone  some rows that are visible when the destination is deferred are delivered
//
// Worker, retention, replay and the gate of the stream all use this one predicate.
//
// # The states
//
//	state     rows that the stream brings              rows of the table
//	-----     ---------------------------              -----------------
//	none      go to delivery                           -
//	deferred  done: skipped, else counted as handed    the Worker sends the others, in passes
//	          over, once the row is durable            in order of seq
//	keeping   kept unsent; too many: deferred          the Worker sends the last pass
//	joining   kept unsent, however many                the join is being written
//	joined    visible in known: skipped, else go to    -
//	          delivery
//
// Keeping is in memory only. A relay that dies then continues from deferred.
//
// # Deferring
//
// A deferral begins while no request has events of the destination or group. known is a snapshot
// that the stream was read past: every row that is visible in it was handed to delivery, or
// delivered before. from_seq is the lowest seq of the events that delivery holds. So no undelivered
// row is done. The row is written first, by a fenced statement. Only then the Tracker counts the
// events as handed over, and the position of the slot moves.
//
// While a recovery reads the table, known is the snapshot of the recovery. Its rows are read in
// order of seq, so those of the destination below from_seq are delivered.
//
// # A pause
//
// An operator requests a pause by a row of outbox_pauses. The destination is then deferred although
// it is available, and no pass is made until the row is deleted. Delivery starts no request to it:
// from the first moment of a session on, and before its events can be deferred.
//
// # A pass
//
// A pass ends at To, a snapshot that the stream was read past: the relay sends no event whose
// commit the stream has not brought yet. To is the snapshot of this moment, or an older one while
// the window is full of the events of another destination. A pass begins at the lowest of from_seq
// and of the seqs that known does not show: a late commit lies below from_seq. It sends the rows
// that are visible in To and not done, in order of seq, and waits until each event is delivered or
// parked. Then known = To and from_seq is infinite, in one statement. Order is that of seq within a
// pass and that of snapshots across passes.
//
// # Joining the stream again
//
//	J1  the gate keeps the rows of the stream; beyond its share, it drops them and stays deferred
//	J2  To is taken after J1. It shows every transaction of which the gate dropped rows in this
//	    session, and its xmin is not below the first xid of the session, so that it shows those of
//	    earlier sessions: a commit that awaits a standby is in the log before a snapshot shows it
//	J3  a pass up to To
//	J4  one fenced write: known = To, from_seq infinite, state joined. To shows every row that the
//	    passes of other deferrals have left to this one, and no deferral of its destination begins
//	    meanwhile
//	J5  kept and later rows: visible in known, skipped; else sent
//	J6  the row goes once flush_lsn has passed an insert LSN that was read after To
//
// # Groups
//
// A group has one request in flight at most. If its events come faster, the window fills from its
// first event on, and every other group waits. So the Worker looks at the group that needs the most
// requests while the window is at least half full. The share of a group is a quarter of the window.
// Its own waiting events count, and the delivered ones behind its first, because they stay in the
// window until that one is delivered. The group is deferred beyond its share, unless many others
// are as far behind: the relay then catches up with everything.
//
// A row has one deferral: that of its group if there is one, and otherwise that of its destination.
// The passes of the destination exclude the rows of a deferred group, and the mark of the
// destination counts them as done. So the group joins the stream after its destination, and with a
// snapshot that is not older. Up to [groupTurns] groups are drained at a time, for a turn each.
// Each pass looks for the rows of its aggregate in ranges of seq, so that an aggregate with few
// rows does not read the whole table in one statement.
//
// A group joins once its last pass took at most five seconds, and the events of all groups that the
// relay delivered meanwhile are at most an eighth of the window. The gate keeps the group's events
// for about the duration of that pass. It drops them if they exceed the group's share of the
// window.
//
// A group that holds up the pass of its destination leaves that pass. Its deferral begins as in the
// second case below, behind a dead letter, and is drained at once.
//
// # Behind a dead letter
//
// A refused event becomes a dead letter, which blocks its group. The next event of the group waits
// in delivery, and the group is deferred from it on. No pass is made while a dead letter blocks the
// group. Two cases remain:
//
//	the pass of the group meets a refused event   it takes back the events behind it, and stores
//	                                              its cursor
//	the pass of the destination meets one, and    the group gets a deferral of its own: known is
//	then events behind it                         To of the pass, and from_seq the seq of the
//	                                              first event that waits
//
// A row that has a dead letter is not sent by a pass of its group. So it does not matter whether
// the cursor is behind it.
//
// # Rows that are let through
//
// The predicate goes by the column xid. Any role that may write that column can write a made-up
// xid, and the predicate says nothing about such a row. The gate compares the column with the
// transaction that the log names. It lets a row through where the two differ, and the event waits
// in memory.
//
// # Rows that came with a table or a partition
//
// The log did not bring them, and the predicate says nothing about them either: a row that is done
// was not delivered. It goes to delivery, and precedes every row that is not done. A dead letter of
// a later row does not block it. Behind one of an earlier row, from_seq is lowered to the row.
//
// A row that is not done waits in the table. While a pass whose To shows the row is under way, or
// the gate keeps events, neither is safe: the pass may have looked before the table had the row,
// and counts it as done at its end. The row is judged again after that.
//
// # An older relay
//
// A relay that knows no deferrals goes by the horizon alone, and its retention would remove rows
// that wait. While a row waits, relay_checkpoints has one more row of the table ([GuardOf]).
// relay_members has no relation for the name in that row, so an older relay removes nothing. Newer
// relays ignore the row.
//
// # Invariant
//
// Every committed row that flush_lsn has passed is at its destination, or in a dead letter, or in
// the table and not done for a deferral of its slot. No row is sent while an earlier one of its
// group is not done.
package deferral
