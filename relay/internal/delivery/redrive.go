package delivery

// A dead letter is redriven through the queue of its group, like any event: nothing of the group overtakes it and it
// overtakes nothing. Whether the group is blocked any more is asked when its next event comes, in that event's turn: by
// then no other event of the group can be on its way into the dead letters.

// redriven notes that a dead letter is durable at its destination.
func (l *lane) redriven(e *Event) {
	if e.err = l.delivery.deps.Parker.Redriven(l.delivery.requests, e.Letter.Position); e.err != nil {
		l.delivery.end(e.err)
		return
	}
	l.log.Info("dead letter redriven", "event_id", e.Message.EventID, "group", e.Message.GroupID, "position", e.Letter.Position)
	l.delivery.deps.Observer.Redriven(l.Name)
}

// withdraw takes a dead letter back that is not to be sent any more: one before it was refused again, after the dead letters
// to redrive were read, and it stays parked behind that.
func (l *lane) withdraw(e *Event) {
	if !e.isRedriven() || e.err != nil {
		return
	}
	redriving, err := l.delivery.deps.Parker.IsRedriving(l.delivery.requests, e.Letter)
	if err != nil {
		e.err = err
		l.delivery.end(err)
		return
	}
	e.withdrawn = !redriving
}

// free lets e and what follows of its group go, if it was blocked and no dead letter blocks it any more.
func (l *lane) free(e *Event) {
	if e.err = nil; e.blockedBy == "" {
		return
	}
	group := e.Message.GroupID
	blocked, err := l.delivery.deps.Parker.IsBlocked(l.delivery.requests, l.Name, group)
	if err != nil {
		e.err = err
		l.delivery.end(err)
		return
	}
	if blocked {
		return
	}
	e.blockedBy = ""
	l.log.Info("message group flows again", "group", group)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.queue.blocked, group)
}
