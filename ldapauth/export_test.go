package ldapauth

// Rediscover asks the DNS for servers now.
func (d *Directory) Rediscover() error { return d.rediscover() }

// Connected returns the number of service connections that are taken for good.
func (d *Directory) Connected() (n int) {
	for _, s := range d.all() {
		s.mu.Lock()
		for _, c := range s.service {
			if !c.dead() {
				n++
			}
		}
		s.mu.Unlock()
	}
	return n
}
