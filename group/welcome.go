package group

import (
	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/internal/parallel"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
)

// welcome makes the Welcome for the members that a commit adds (RFC 9420,
// Section 12.4.3.1), an encoded MLSMessage; nil if it adds none.
func (m *maker) welcome(s *Staged, joiner *keyschedule.JoinerSecret, psk keyschedule.PSKSecret) ([]byte, error) {
	if len(m.t.added) == 0 {
		return nil, nil
	}
	info, err := groupInfo(s.next, s.secret, InfoOptions{Tree: !m.opt.TreeApart, Extensions: m.opt.GroupInfoExtensions})
	if err != nil {
		return nil, err
	}
	plain, err := wire.Marshal(info)
	if err != nil {
		return nil, err
	}
	secret := joiner.Welcome(psk)
	defer secret.Destroy()
	w := &framing.Welcome{CipherSuite: m.suite.ID(), Secrets: make([]framing.EncryptedGroupSecrets, len(m.t.added))}
	if w.EncryptedGroupInfo, err = secret.Seal(plain); err != nil {
		return nil, err
	}
	encrypter := framing.GroupSecretsEncrypter(m.suite, w.EncryptedGroupInfo)
	err = parallel.Each(len(m.t.added), 1, func(i int) error {
		one, err := m.welcomeOne(&m.t.added[i], joiner, encrypter)
		w.Secrets[i] = one
		return err
	})
	if err != nil {
		return nil, err
	}
	return (&framing.Message{Version: mls.MLS10, WireFormat: framing.WireFormatWelcome, Welcome: w}).Bytes()
}

// welcomeOne encrypts the joiner secret, and the path secret of the node where
// the new member's path meets ours, to one new member.
func (m *maker) welcomeOne(a *addition, joiner *keyschedule.JoinerSecret, encrypter *mls.Encrypter) (framing.EncryptedGroupSecrets, error) {
	secrets := framing.GroupSecrets{JoinerSecret: joiner.Secret(), PSKs: m.t.psks}
	defer secrets.Destroy()
	if m.path != nil {
		secrets.PathSecret, _ = m.path.PathSecretFor(a.leaf)
	}
	sealed, err := secrets.Seal(encrypter, a.kp.InitKey)
	return framing.EncryptedGroupSecrets{NewMember: a.kp.Ref(m.suite), EncryptedGroupSecrets: sealed}, err
}
