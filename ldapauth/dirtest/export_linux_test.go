package dirtest

// Process returns the process and the folder of a server.
func Process(s *Server) (pid int, dir string) {
	switch b := s.backend.(type) {
	case *slapd:
		return b.process.cmd.Process.Pid, b.dir
	case *samba:
		return b.process.cmd.Process.Pid, b.dir
	}
	panic("unknown kind of server")
}
