// Package checkpoint computes and stores the position of the relay. The [Tracker] computes which
// position may be confirmed. The [Store] writes it to the checkpoint row.
//
// # The delivered prefix
//
// Events are delivered in any order, and Postgres gets one position. For the Tracker an event is
// delivered once its destination has it, once it is parked or deferred, or once a route has dropped
// it. The [Tracker] keeps the open events in the order of the log, with marks between them: the
// begin and the end of a transaction, and the seq that a recovery has reached. It moves over the
// events that are delivered, from the oldest on, and applies each mark that it passes. It stops at
// the first event that is not delivered:
//
//	log       B1  a  b  C1   B2  c  d  e  C2          B, C: Begin, Commit of a transaction
//	delivered     x  x           x  -  x              x: delivered, -: open
//	                             ▲
//	FlushLSN  = end of C1        the prefix ends behind c
//	Transaction = {B2, delivered 1, last c}
//
// Event e is delivered and is not part of the prefix. After a crash at this moment, the server
// sends the second transaction again from its start. The next session skips one event, after it has
// compared the id with that of c, and publishes d and e. So e arrives twice, with the same id.
//
//	call            effect on the position
//	----            ----------------------
//	Begin           Transaction, once everything before it is delivered
//	Open            none: from here on no position behind the event is confirmed
//	Delivered       advances over the prefix
//	Commit          FlushLSN = TransactionEndLSN, once everything before it is delivered
//	Keepalive       FlushLSN = ServerWALEnd, only outside a transaction and with nothing open
//	Recovered       RecoveredSeq, once every row up to it is delivered
//
// The [Window] bounds the open events. Without room, the stream is not read further, and the log
// waits on the server.
//
// # From the Tracker to the server
//
//	Tracker.Position ──► Store.Save, under the fence ──► status update: confirmed_flush_lsn
//
// The row is written first. A slot that is ahead of its row has therefore been changed by others,
// or belonged to a primary that was lost: its events may be missing, and package recovery finds
// them.
//
// # The row
//
//	column of the row          says
//	-----------------          ----
//	epoch                      which relay may write: the one that raised it last
//	Position                   where the stream continues
//	Horizon, a pg_snapshot     every event whose transaction it shows is delivered, parked or
//	                           deferred
//	Fingerprint                the publication at the horizon, to notice that it was changed
//	Recovery {From, To,        the rows that are still published from the table, and the position
//	Since, Until}              at which a recovery beside an intact slot ends
//
// Position counts in the log and is lost with the slot. Horizon counts in transactions, which the
// table has too, so that the events that are missing can be found there.
package checkpoint
