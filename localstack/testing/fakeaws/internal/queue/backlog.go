package queue

// chain is an intrusive list of items.
type chain struct {
	first, last *item
	length      int
}

func (c *chain) append(it *item) { c.insert(it, nil) }

// insert inserts it before next, or at the end.
func (c *chain) insert(it, next *item) {
	previous := c.last
	if next != nil {
		previous = next.previous
		next.previous = it
	} else {
		c.last = it
	}
	if previous != nil {
		previous.next = it
	} else {
		c.first = it
	}
	it.previous, it.next = previous, next
	c.length++
}

func (c *chain) remove(it *item) {
	if it.previous != nil {
		it.previous.next = it.next
	} else {
		c.first = it.next
	}
	if it.next != nil {
		it.next.previous = it.previous
	} else {
		c.last = it.previous
	}
	it.previous, it.next = nil, nil
	c.length--
}

// takeFirst removes the first n items at most and appends them to items.
func (c *chain) takeFirst(items []*item, n int) []*item {
	for ; n > 0 && c.first != nil; n-- {
		it := c.first
		c.remove(it)
		items = append(items, it)
	}
	return items
}

// unordered is the backlog of a standard queue: first in, first out, except for messages that
// become visible again.
type unordered struct{ items chain }

func (u *unordered) push(it *item)      { u.items.append(it) }
func (u *unordered) putBack(it *item)   { u.items.append(it) }
func (u *unordered) release(*item)      {}
func (u *unordered) forget(it *item)    { u.items.remove(it) }
func (u *unordered) oldest() *item      { return u.items.first }
func (u *unordered) visible() int       { return u.items.length }
func (u *unordered) take(n int) []*item { return u.items.takeFirst(nil, n) }
