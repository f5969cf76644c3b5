// Package leadership makes one relay of several the leader: the one that holds the replication
// slot, streams it and publishes.
//
// # Three guards
//
// Postgres gives a slot to one walsender at a time, which is the lock. It does not stop the relay
// that lost the lock and does not know it yet. Two more guards do:
//
//	guard   kept in                          stops                              checked
//	-----   -------                          -----                              -------
//	slot    pg_replication_slots.active_pid  a second stream                    by the server
//	fence   epoch of the checkpoint row      a write of a relay that was        in the statement
//	        and active_pid                   replaced                           itself
//	lease   memory of the relay              a publish of a relay that was      before each
//	                                         frozen or cut off                  request
//
// Claiming raises the epoch while this relay's walsender holds the slot. [slot.Fence] is the epoch
// and the process id of that walsender. The statements of a leader have the fence as a condition,
// so that a relay with an older epoch changes no row. There are five exceptions. The statement that
// marks a recovery, and the one that stores its end beside an intact slot, have the epoch alone.
// The statement that stores a position while the slot is free for a moment has [slot.UnclaimedSQL].
// These three store facts that hold whichever relay has the slot. The reason of a gap has no fence,
// because no decision depends on it. The first entries of relay_members have no fence either,
// because they replace no entry. Nor have the relay's own row of its status, the note that a pause
// is in effect, and the removal of members that no longer exist: none of them decides about an
// event.
//
// A publish is no statement of the database, so it has no such condition. [slot.Lease] bounds it by
// time instead. The relay renews the lease when it has seen the fence hold. The lease counts from
// the start of that query, or from the last status update to the walsender if that is earlier. It
// lasts three quarters of wal_sender_timeout, and the server frees the slot of a silent walsender
// after the whole of it:
//
//	last status update          lease over: no publish      slot free: another relay publishes
//	        |------------- 3/4 -------------|---- 1/4 ----|
//
// # Acquiring the slot
//
// [Acquirer.Acquire] does one step a round. Each round opens a replication connection, reads the
// checkpoint row and the slot, and does the one step that follows from both. All state is in the
// database, so a relay that dies between two steps leaves nothing to clean up. If two relays do the
// same step, it succeeds for one, and the other one looks again.
//
//	row            slot          step                                          next
//	---            ----          ----                                          ----
//	any            active        stand by until it is free                     look again
//	none           none or lost  write the first row, with a recovery of the   marked
//	                             rows that [Start] selects
//	none           intact        adopt it: write the row at its position       ready
//	marked         none          create it, claim the row, store the snapshot  held
//	marked         invalidated   drop it                                       marked
//	marked         intact        store a snapshot that is taken beside it      ready
//	marked         endangered    claim it and read it before the table         held
//	unmarked       not intact    mark the row                                  marked
//	unmarked       intact        start the stream, claim the row, and judge    held, or marked
//	                             whether the slot can bring every event        if there is a gap
//
// A row is marked if its recovery has a start and no end yet. Ready is an unmarked row with an
// intact slot. A slot is intact if it exists and the server has not invalidated it. It is
// endangered if the server may soon invalidate it. A snapshot waits until every running transaction
// has ended, and may then come too late.
//
// The judgement comes after the claim, because from then on no other relay changes slot or row.
// Package recovery has its rules.
package leadership
