package delivery

// work is a batch to send.
type work struct {
	sender *sender
	batch  []*Event
}

// begin hands a batch to an idle runner, or to a new one. It does not block.
func (d *Delivery) begin(w work) {
	select {
	case d.work <- w:
	default:
		d.wait.Add(1)
		go d.runner(w)
	}
}

// runner sends one batch after the other until delivery ends. So there are as many runners as
// requests were in flight at the same time. A goroutine for each batch would grow its stack several
// times before it writes the request.
func (d *Delivery) runner(w work) {
	defer d.wait.Done()
	for {
		w.sender.run(w.batch)
		select {
		case w = <-d.work:
		case <-d.ended:
			return
		}
	}
}
