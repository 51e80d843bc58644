package sim

import (
	"fmt"

	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/group"
)

// shutOut has the member that a commit removed try to read what came after it,
// and the one that it added what came before.
func (s *simulation) shutOut(c *committed, earlier, later []byte) error {
	if c.removed != nil {
		tries, err := c.removed.mustNotRead(c.message, later)
		if err != nil {
			return fmt.Errorf("removed member: %w", err)
		}
		s.report.Shut.add(Attempts{1, tries})
	}
	if c.joined != nil {
		tries, err := c.joined.mustNotRead(earlier)
		if err != nil {
			return fmt.Errorf("latecomer: %w", err)
		}
		s.report.Late.add(Attempts{1, tries})
	}
	return nil
}

// mustNotRead tries to read messages of an epoch that the member is not in: as
// they are, and with the epoch in the header replaced by the member's own, so
// that its keys are really tried on them. It returns how many tries failed, as
// all must.
func (m *member) mustNotRead(messages ...[]byte) (tries int, err error) {
	for _, message := range messages {
		forged, err := inEpoch(message, m.group.Epoch())
		if err != nil {
			return tries, err
		}
		for _, try := range [][]byte{message, forged} {
			received, err := m.group.Process(try)
			if err == nil && gives(received) {
				return tries, fmt.Errorf("leaf %d got %T out of a message that it must not read", m.group.OwnLeaf(), received)
			}
			tries++
		}
	}
	return tries, nil
}

// gives tells whether what became of a message hands over a secret of its
// epoch: a text, or the next epoch's keys.
func gives(received group.Received) bool {
	switch received.(type) {
	case *group.Application, *group.Staged:
		return true
	}
	return false
}

// inEpoch returns a message with another epoch in its header.
func inEpoch(message []byte, epoch uint64) ([]byte, error) {
	m, err := framing.Parse(message)
	if err != nil {
		return nil, err
	}
	if m.Private != nil {
		m.Private.Epoch = epoch
	}
	if m.Public != nil {
		m.Public.Content.Epoch = epoch
	}
	return m.Bytes()
}
