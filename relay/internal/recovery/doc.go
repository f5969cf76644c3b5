// Package recovery finds out whether events may be missing from the stream, and reads from the
// outbox table exactly those that may not have been delivered.
//
// # The judgement
//
// [Gap] compares the slot with the checkpoint row, for a relay that holds the slot or found none:
//
//	slot                                              events may be missing because
//	----                                              -----------------------------
//	does not exist                                    the log behind the row's position is gone
//	is invalidated                                    the server removed the log that it kept
//	confirmed_flush_lsn is ahead of the row           another client created it again or advanced
//	                                                  it, or the row was lost with a primary
//	publication's fingerprint is not that of the row  the publication did not stream some rows
//	audit found rows that the stream did not bring    the table has more rows, for whatever reason
//	none of these                                     nothing is missing: the stream continues
//
// # The rows
//
// A log position says nothing about a row of the table. A snapshot does. The horizon of the
// checkpoint row is a snapshot in which every visible event is delivered, parked or deferred. A
// recovery leaves the deferred ones to package deferral. A new slot comes with the snapshot of its
// first position. The rows between the two snapshots are published from the table, and the slot
// brings all later ones:
//
//	transactions ───────────────────────────────────────────────►
//	     delivered     │     published from the table    │   streamed
//	              From: horizon                 To: snapshot of the slot
//
// A producer or a restore may have written any transaction id into the column xid, so the
// transaction that the server knows as the row's writer (xmin) has to agree. In doubt a row is
// published: an event may arrive twice, and none is missing.
//
// # The states of a recovery
//
// All state is in the checkpoint row, so that a relay that was killed continues in the middle.
//
//	state     the row has                    the session
//	-----     -----------                    -----------
//	none      no recovery                    streams
//	marked    From                           acquires or creates the slot, and stores To. If the
//	                                         server may invalidate the slot before, it is read
//	                                         first
//	reading   From, To, seq of the last      publishes the rows behind that seq, in order of seq
//	          delivered row
//	in place  the same, and Until above      then reads the slot up to Until, and skips the rows
//	          the position                   that the table brought
//	finished  no recovery, horizon = To      streams, in a new session if it was in place
//
// An in-place recovery keeps a slot that is intact. Such a slot may still hold events whose rows
// were deleted, so the relay neither drops nor passes it.
//
// [Operator] asks for a recovery by hand, shows beforehand which rows it would publish, and can
// withdraw it until a relay has begun. [Worker] does the work of a session.
package recovery
