package ingest

import "runtime"

// largeRow is the size from which a row counts as large, in bytes, and collectAfter is how many
// bytes of large rows are read between two collections.
const largeRow, collectAfter = 1 << 20, 8 << 20

// collector frees the memory of large rows. The runtime starts a collection at the limit of its
// memory, and allocations continue until it ends. That may be four copies of a row of ten MiB: a
// quarter of the limit each.
type collector struct{ bytes int }

// opened counts a row that was read.
func (c *collector) opened(bytes int) {
	if bytes >= largeRow {
		c.bytes += bytes
	}
}

// collect waits for a collection if large rows were read since the last one.
func (c *collector) collect() {
	if c.bytes >= collectAfter {
		c.bytes = 0
		runtime.GC()
	}
}
