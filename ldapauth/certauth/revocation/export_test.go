package revocation

// Refresh starts what the background would start now.
func (s *Store) Refresh() {
	for _, src := range s.due() {
		s.start(src)
	}
}

// Settle waits until nothing is under way.
func (s *Store) Settle() { s.wg.Wait() }
