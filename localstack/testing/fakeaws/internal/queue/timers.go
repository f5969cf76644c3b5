package queue

// timers is a heap of the items that become visible by themselves, the next one first. See
// [container/heap].
type timers []*item

func (t timers) Len() int { return len(t) }

func (t timers) Less(i, j int) bool {
	if t[i].visibleAt.Equal(t[j].visibleAt) {
		return t[i].number < t[j].number
	}
	return t[i].visibleAt.Before(t[j].visibleAt)
}

func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].timer, t[j].timer = i, j
}

// Push implements heap.Interface.
func (t *timers) Push(x any) {
	it := x.(*item)
	it.timer = len(*t)
	*t = append(*t, it)
}

// Pop implements heap.Interface.
func (t *timers) Pop() any {
	last := len(*t) - 1
	it := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	it.timer = -1
	return it
}
