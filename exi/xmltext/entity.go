package xmltext

// entities holds what a document type's internal subset declared.
type entities struct{}

// entity takes a reference to a declared entity, behind its name.
func (s *scanner) entity(name string, inAttr bool) error {
	return s.notWell(errRef)
}
