package queue

// grouped is the backlog of a FIFO queue. A message in flight locks its group: the group's other
// messages wait until that message is deleted or visible again.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-understanding-logic.html
type grouped struct {
	groups  map[string]*group
	ready   []*group // groups that have messages and are not locked, longest wait first
	waiting int
}

type group struct {
	id       string
	items    chain
	inFlight int
	ready    bool // whether it is in grouped.ready
}

func newGrouped() *grouped { return &grouped{groups: map[string]*group{}} }

func (g *grouped) of(it *item) *group {
	of := g.groups[it.GroupID]
	if of == nil {
		of = &group{id: it.GroupID}
		g.groups[it.GroupID] = of
	}
	return of
}

func (g *grouped) push(it *item) {
	of := g.of(it)
	of.items.append(it)
	g.waiting++
	g.settle(of)
}

// take takes as many messages as possible from one group before it continues with the next, like
// SQS.
func (g *grouped) take(n int) []*item {
	var taken []*item
	for len(taken) < n && len(g.ready) > 0 {
		of := g.ready[0]
		g.unready()
		before := len(taken)
		taken = of.items.takeFirst(taken, n-before)
		of.inFlight += len(taken) - before
		g.settle(of)
	}
	g.waiting -= len(taken)
	return taken
}

func (g *grouped) putBack(it *item) {
	of := g.of(it)
	next := of.items.first
	for next != nil && next.number < it.number {
		next = next.next
	}
	of.items.insert(it, next)
	g.waiting++
	of.inFlight--
	g.settle(of)
}

func (g *grouped) release(it *item) {
	of := g.of(it)
	of.inFlight--
	g.settle(of)
}

func (g *grouped) forget(it *item) {
	of := g.of(it)
	of.items.remove(it)
	g.waiting--
	g.settle(of)
}

func (g *grouped) visible() int { return g.waiting }

// oldest returns the first message of the group that has waited longest, or nil if all groups are
// locked.
func (g *grouped) oldest() *item {
	for len(g.ready) > 0 {
		of := g.ready[0]
		if of.items.first != nil {
			return of.items.first
		}
		g.unready()
		g.settle(of)
	}
	return nil
}

// unready removes the first group from ready.
func (g *grouped) unready() {
	g.ready[0].ready = false
	g.ready[0] = nil
	g.ready = g.ready[1:]
}

// settle adds a group to ready if it can deliver, and removes a group without messages.
func (g *grouped) settle(of *group) {
	switch {
	case of.ready || of.inFlight > 0:
	case of.items.first != nil:
		of.ready = true
		g.ready = append(g.ready, of)
	default:
		delete(g.groups, of.id)
	}
}
