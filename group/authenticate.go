package group

import (
	"bytes"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/treekem"
)

// authenticateLeaf asks the application about the credential of a leaf that is
// new to the group (RFC 9420, Section 5.3.1). old is the leaf that it replaces,
// or nil. A leaf that presents what old presented is not new.
func (c *Config) authenticateLeaf(groupID []byte, leaf, old *treekem.LeafNode, who mls.Culprit) error {
	if old != nil && bytes.Equal(leaf.SignatureKey, old.SignatureKey) && leaf.Credential.Equal(old.Credential) {
		return nil
	}
	if err := c.authenticate(groupID, leaf.Presentation(), old, who); err != nil {
		return blame(err, mls.Culprit{Identity: leaf.Credential.String()})
	}
	return nil
}

// authenticate is authenticateLeaf given what is presented, which the application
// gets for its own, to keep and to change: who it was is for the caller to say.
func (c *Config) authenticate(groupID []byte, leaf treekem.Presentation, old *treekem.LeafNode, who mls.Culprit) error {
	a := Authentication{Credential: leaf.Credential, SignatureKey: leaf.SignatureKey, GroupID: bytes.Clone(groupID)}
	if old != nil {
		replaces := old.Credential.Clone()
		a.Replaces = &replaces
	}
	err := c.Authenticate(a)
	if err == nil {
		return nil
	}
	if old != nil {
		return withCause(mls.InvalidAt(who, "5.3.1", "successor-credential",
			"the application refuses the credential that a member replaces its own with"), err)
	}
	return withCause(mls.InvalidAt(who, "5.3.1", "credential", "the application refuses a credential"), err)
}

// authenticateExternalSenders asks the application about those external senders
// that are not in known already.
func (c *Config) authenticateExternalSenders(suite *mls.Suite, groupID []byte, senders, known []framing.ExternalSender) error {
	for i := range senders {
		s := &senders[i]
		if containsSender(known, s) {
			continue
		}
		if err := suite.ValidateSignatureKey(s.SignatureKey); err != nil {
			return err
		}
		if err := s.Credential.CheckKey(suite, s.SignatureKey); err != nil {
			return err
		}
		err := c.Authenticate(Authentication{
			Credential: s.Credential.Clone(), SignatureKey: bytes.Clone(s.SignatureKey), ExternalSender: true, GroupID: bytes.Clone(groupID),
		})
		if err != nil {
			return withCause(mls.InvalidAt(mls.Culprit{Identity: s.Credential.String()}, "5.3.1", "external-sender",
				"the application refuses external sender %d", i), err)
		}
	}
	return nil
}

func containsSender(list []framing.ExternalSender, s *framing.ExternalSender) bool {
	for i := range list {
		if bytes.Equal(list[i].SignatureKey, s.SignatureKey) && list[i].Credential.Equal(s.Credential) {
			return true
		}
	}
	return false
}

// authorize asks the application about something from outside the group. The
// default admits what the group has provided for, and no strangers' Adds.
func (c *Config) authorize(a Admission) error {
	if c.Authorize != nil {
		if err := c.Authorize(a); err != nil {
			return withCause(mls.Invalid("12.1.8", "unauthorized", "the application refuses it"), err)
		}
		return nil
	}
	if a.Sender.Type == framing.SenderNewMemberProposal {
		return mls.Invalid("12.1.8", "unauthorized", "no Config.Authorize to admit a new member's proposal")
	}
	return nil
}

// withCause attaches the application's error to a rule's.
func withCause(err, cause error) error {
	if rule, ok := err.(*mls.RuleError); ok {
		rule.Err = cause
	}
	return err
}
