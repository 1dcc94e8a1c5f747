package ldapauth

// Rediscover asks the DNS for servers now.
func (d *Directory) Rediscover() error { return d.rediscover() }
