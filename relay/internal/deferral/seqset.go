package deferral

const (
	// blockBits is how many seqs a block of a seqSet covers. Seqs of one sequence lie close
	// together.
	blockBits  = 4096
	blockWords = blockBits / 64
	// maxBlocks bounds the memory of all seqSets of a Gate to 32 MB, and maxBlocksOfOne that of
	// one. At least 32,768 and at most 134 million seqs have room in one.
	maxBlocks, maxBlocksOfOne = 1 << 16, 1 << 15
)

// budget bounds the memory of the sets of a Gate, whose lock guards it. A nil budget has no end.
type budget struct{ used, limit int }

// reserve makes room for one entry, and reports whether there was any.
func (b *budget) reserve() bool {
	if b == nil {
		return true
	}
	if b.used >= b.limit {
		return false
	}
	b.used++
	return true
}

func (b *budget) release(n int) {
	if b != nil {
		b.used -= n
	}
}

// seqSet is a set of seqs. It forgets those for which it has no room.
type seqSet struct {
	budget *budget // of blocks
	blocks map[int64]*[blockWords]uint64
	size   int64
}

// bitOf returns the block of a seq, the word of that block, and the bit of that word.
func bitOf(seq int64) (block, word int64, bit uint64) {
	return seq &^ (blockBits - 1), seq & (blockBits - 1) / 64, 1 << (seq & 63)
}

func (s *seqSet) add(seq int64) {
	key, word, bit := bitOf(seq)
	block := s.blocks[key]
	if block == nil {
		if len(s.blocks) == maxBlocksOfOne || !s.budget.reserve() {
			return
		}
		if s.blocks == nil {
			s.blocks = map[int64]*[blockWords]uint64{}
		}
		block = new([blockWords]uint64)
		s.blocks[key] = block
	}
	if block[word]&bit == 0 {
		block[word] |= bit
		s.size++
	}
}

// remove reports whether the set had seq.
func (s *seqSet) remove(seq int64) bool {
	key, word, bit := bitOf(seq)
	block := s.blocks[key]
	if block == nil || block[word]&bit == 0 {
		return false
	}
	block[word] &^= bit
	if s.size--; *block == [blockWords]uint64{} {
		delete(s.blocks, key)
		s.budget.release(1)
	}
	return true
}

func (s *seqSet) has(seq int64) bool {
	key, word, bit := bitOf(seq)
	block := s.blocks[key]
	return block != nil && block[word]&bit != 0
}

func (s *seqSet) clear() {
	s.budget.release(len(s.blocks))
	s.blocks, s.size = nil, 0
}
