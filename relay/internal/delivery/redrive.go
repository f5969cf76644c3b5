package delivery

// A redriven dead letter passes through the scheduler in its group, like any event, so neither
// overtakes the other. The sender asks whether the group is still blocked in the turn of the next
// event of that group. By then no other event of the group can be on its way into the dead letters.

// redriven records that a dead letter is durable at its destination.
func (s *sender) redriven(e *Event) {
	if e.err = s.delivery.deps.Parker.Redriven(s.delivery.requests, e.DeadLetter.Position); e.err != nil {
		s.delivery.end(e.err)
		return
	}
	s.log.Info("dead letter redriven", "event_id", e.Message.EventID, "group", e.Message.GroupID,
		"position", e.DeadLetter.Position)
	s.delivery.deps.Observer.Redriven(s.Name)
}

// withdraw excludes a dead letter that is no longer to be sent. One before it may have been refused
// again after the dead letters to redrive were read. This one then stays parked behind it.
func (s *sender) withdraw(e *Event) {
	if !e.isRedriven() || e.err != nil {
		return
	}
	redriving, err := s.delivery.deps.Parker.IsRedriving(s.delivery.requests, e.DeadLetter)
	if err != nil {
		e.err = err
		s.delivery.end(err)
		return
	}
	e.withdrawn = !redriving
}

// unblockGroup lets e and the later events of its group flow, if the group was blocked and no dead
// letter blocks it any more.
func (s *sender) unblockGroup(e *Event) {
	if e.err, e.Behind = nil, false; e.blockedBy == "" {
		return
	}
	group := e.Message.GroupID
	blocked, err := s.delivery.deps.Parker.IsBlocked(s.delivery.requests, s.Name, group)
	if err != nil {
		e.err = err
		s.delivery.end(err)
		return
	}
	if blocked {
		s.unblockJoined(e)
		return
	}
	e.blockedBy = ""
	s.log.Info("message group is no longer blocked", "group", group)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scheduler.unblock(group)
}

// unblockJoined lets e alone flow if its row came with a table or a partition, and only later rows
// of its blocked group are dead letters.
func (s *sender) unblockJoined(e *Event) {
	seq, err := e.Row.Seq()
	if !e.Joined || err != nil {
		return
	}
	behind, err := s.delivery.deps.Parker.IsBehind(s.delivery.requests, s.Name, e.Message.GroupID, seq)
	if err != nil {
		e.err = err
		s.delivery.end(err)
		return
	}
	if e.Behind = behind; !behind {
		e.blockedBy = ""
	}
}
