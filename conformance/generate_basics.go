package conformance

import (
	"math"

	"github.com/treekem/mls"
	"github.com/treekem/mls/framing"
	"github.com/treekem/mls/internal/wire"
	"github.com/treekem/mls/keyschedule"
	"github.com/treekem/mls/treekem"
)

func generateTreeMath(g *generator) {
	for leaves := uint32(1); leaves <= 128; leaves *= 2 {
		nodes := treekem.NodeWidth(leaves)
		relation := func(of func(treekem.NodeIndex) (treekem.NodeIndex, bool)) []*uint32 {
			list := make([]*uint32, nodes)
			for i := range list {
				if x, ok := of(treekem.NodeIndex(i)); ok {
					list[i] = (*uint32)(&x)
				}
			}
			return list
		}
		g.add(object{
			"n_leaves": leaves,
			"n_nodes":  nodes,
			"root":     treekem.Root(leaves),
			"left":     relation(treekem.NodeIndex.Left),
			"right":    relation(treekem.NodeIndex.Right),
			"parent":   relation(func(x treekem.NodeIndex) (treekem.NodeIndex, bool) { return x.Parent(leaves) }),
			"sibling":  relation(func(x treekem.NodeIndex) (treekem.NodeIndex, bool) { return x.Sibling(leaves) }),
		})
	}
}

func generateDeserialization(g *generator) {
	for _, length := range []uint32{0, 1, 1<<6 - 1, 1 << 6, 1<<14 - 1, 1 << 14, 1 << 20, wire.MaxVector} {
		g.add(object{"vlbytes_header": digits(wire.AppendVarint(nil, length)), "length": length})
	}
}

func generateCryptoBasics(g *generator) {
	s := g.suite
	value, secret, context := g.bytes(40), g.hash(), g.bytes(24)
	generation, length := g.u32(), s.KeySize()
	signer := must(s.GenerateSigner())
	content := g.bytes(64)
	key := must(s.GenerateKeyPair())
	plaintext := g.bytes(32)
	sealed := must(s.EncryptWithLabel(key.Public(), "EncryptWithLabel", context, plaintext))
	g.add(object{
		"ref_hash": object{"label": "RefHash", "value": value, "out": digits(s.RefHash("RefHash", value))},
		"expand_with_label": object{
			"secret": secret, "label": "ExpandWithLabel", "context": context, "length": length,
			"out": reveal(s.ExpandWithLabel(g.secret(secret), "ExpandWithLabel", context, length)),
		},
		"derive_secret": object{
			"secret": secret, "label": "DeriveSecret",
			"out": reveal(s.DeriveSecret(g.secret(secret), "DeriveSecret")),
		},
		"derive_tree_secret": object{
			"secret": secret, "label": "DeriveTreeSecret", "generation": generation, "length": length,
			"out": reveal(s.DeriveTreeSecret(g.secret(secret), "DeriveTreeSecret", generation, length)),
		},
		"sign_with_label": object{
			"priv": reveal(signer.Secret()), "pub": digits(signer.Public()),
			"label": "SignWithLabel", "content": content,
			"signature": digits(must(s.SignWithLabel(signer, "SignWithLabel", content))),
		},
		"encrypt_with_label": object{
			"priv": reveal(key.Secret()), "pub": digits(key.Public()),
			"label": "EncryptWithLabel", "context": context, "plaintext": plaintext,
			"kem_output": digits(sealed.KEMOutput), "ciphertext": digits(sealed.Ciphertext),
		},
	})
}

func generateSecretTree(g *generator) {
	for _, width := range []int{1, 4} {
		encryption, senderData, ciphertext := g.hash(), g.hash(), g.bytes(80)
		epoch := keyschedule.TestingOnlyEpochSecrets(g.suite, map[string][]byte{
			"encryption_secret": encryption, "sender_data_secret": senderData,
		})
		key, nonce := epoch.SenderData(ciphertext)
		tree := epoch.TakeSecretTree(uint32(width))
		leaves := make([][]object, width)
		for i := range leaves {
			for _, generation := range []uint32{0, 1, 12} {
				entry := object{"generation": generation}
				for name, kind := range map[string]keyschedule.RatchetKind{
					"handshake": keyschedule.Handshake, "application": keyschedule.Application,
				} {
					try(tree.Open(mls.LeafIndex(i), kind, generation, func(key mls.Secret, nonce []byte) error {
						entry[name+"_key"], entry[name+"_nonce"] = reveal(key), append(digits{}, nonce...)
						return nil
					}))
				}
				leaves[i] = append(leaves[i], entry)
			}
		}
		g.add(object{
			"sender_data": object{
				"sender_data_secret": senderData, "ciphertext": ciphertext, "key": reveal(key), "nonce": digits(nonce),
			},
			"encryption_secret": encryption,
			"leaves":            leaves,
		})
	}
}

func (g *generator) groupContext(groupID digits, epoch uint64, treeHash, confirmed digits) []byte {
	return must(keyschedule.GroupContext{
		Version:                 mls.MLS10,
		CipherSuite:             g.suite.ID(),
		GroupID:                 groupID,
		Epoch:                   epoch,
		TreeHash:                treeHash,
		ConfirmedTranscriptHash: confirmed,
	}.Bytes())
}

func generateKeySchedule(g *generator) {
	s := g.suite
	groupID, initial := g.bytes(16), g.hash()
	init := keyschedule.ExternalInitSecret(s, g.secret(initial))
	var epochs []object
	for i := range 4 {
		treeHash, confirmed, commitSecret, pskSecret := g.hash(), g.hash(), g.hash(), g.hash()
		if i%2 == 0 {
			clear(pskSecret)
		}
		groupContext := g.groupContext(groupID, uint64(i), treeHash, confirmed)
		psk := keyschedule.TestingOnlyPSKSecret(pskSecret)
		joiner := init.Joiner(g.secret(commitSecret), groupContext)
		epoch := joiner.Epoch(psk, groupContext)
		label, context := "exporter of epoch", g.bytes(20)
		exported := must(epoch.Exporter(label, context, 40))
		v := object{
			"tree_hash": treeHash, "commit_secret": commitSecret, "psk_secret": pskSecret,
			"confirmed_transcript_hash": confirmed,
			"group_context":             digits(groupContext),
			"joiner_secret":             reveal(joiner.Secret()),
			"welcome_secret":            reveal(joiner.Welcome(psk).TestingOnlySecret()),
			"external_pub":              digits(epoch.ExternalPub()),
			"exporter":                  object{"label": label, "context": context, "length": 40, "secret": reveal(exported)},
		}
		for _, name := range []string{
			"init_secret", "sender_data_secret", "encryption_secret", "exporter_secret", "epoch_authenticator",
			"external_secret", "confirmation_key", "membership_key", "resumption_psk",
		} {
			v[name] = reveal(epoch.TestingOnlySecret(name))
		}
		epochs = append(epochs, v)
		init = epoch.Init()
	}
	g.add(object{"group_id": groupID, "initial_init_secret": initial, "epochs": epochs})
}

func generatePSKSecret(g *generator) {
	for _, n := range []int{0, 1, 2, 5} {
		list, psks := []object{}, []keyschedule.PSK{}
		for range n {
			id, psk, nonce := g.bytes(g.below(30)), g.bytes(1+g.below(60)), g.hash()
			list = append(list, object{"psk_id": id, "psk": psk, "psk_nonce": nonce})
			psks = append(psks, keyschedule.PSK{
				ID:     keyschedule.PreSharedKeyID{Type: keyschedule.PSKExternal, PSKID: id, PSKNonce: nonce},
				Secret: g.secret(psk),
			})
		}
		secret := must(keyschedule.NewPSKSecret(g.suite, psks))
		g.add(object{"psks": list, "psk_secret": reveal(secret.TestingOnlySecret(g.suite))})
	}
}

// contents returns a proposal and a commit to frame.
func (g *generator) contents() (*framing.Proposal, *framing.Commit) {
	remove := &framing.Proposal{Type: mls.ProposalRemove, Remove: &framing.Remove{Removed: 0}}
	psk := &framing.Proposal{Type: mls.ProposalPSK, PreSharedKey: &framing.PreSharedKey{PSK: keyschedule.PreSharedKeyID{
		Type: keyschedule.PSKExternal, PSKID: g.bytes(12), PSKNonce: g.hash(),
	}}}
	return remove, &framing.Commit{Proposals: []framing.ProposalOrRef{
		{Proposal: psk}, {Ref: g.hash()}, {Proposal: remove},
	}}
}

func generateMessageProtection(g *generator) {
	s := g.suite
	signer := must(s.GenerateSigner())
	groupID, epoch, treeHash, confirmed := g.bytes(16), uint64(g.u32())<<8, g.hash(), g.hash()
	encryption, senderData, membership := g.hash(), g.hash(), g.hash()
	groupContext := g.groupContext(groupID, epoch, treeHash, confirmed)
	secrets := func() *keyschedule.EpochSecrets {
		return keyschedule.TestingOnlyEpochSecrets(s, map[string][]byte{
			"encryption_secret": encryption, "sender_data_secret": senderData, "membership_key": membership,
		})
	}
	sign := func(f framing.WireFormat, content framing.FramedContent) *framing.AuthenticatedContent {
		content.GroupID, content.Epoch = groupID, epoch
		content.Sender, content.AuthenticatedData = framing.Member(protectionSender), g.bytes(10)
		a := must(framing.Sign(s, signer, f, content, groupContext))
		if content.Commit != nil {
			a.ConfirmationTag = g.hash()
		}
		return a
	}
	public := func(content framing.FramedContent) digits {
		return must(framing.ProtectPublic(s, secrets(), sign(framing.WireFormatPublicMessage, content), groupContext))
	}
	private := func(content framing.FramedContent) digits {
		e := secrets()
		return must(framing.ProtectPrivate(s, e, e.TakeSecretTree(protectionLeaves),
			sign(framing.WireFormatPrivateMessage, content), g.below(40)))
	}
	proposal, commit := g.contents()
	proposed := framing.FramedContent{ContentType: framing.ContentProposal, Proposal: proposal}
	committed := framing.FramedContent{ContentType: framing.ContentCommit, Commit: commit}
	data := g.bytes(40)
	g.add(object{
		"group_id": groupID, "epoch": epoch, "tree_hash": treeHash, "confirmed_transcript_hash": confirmed,
		"signature_priv": reveal(signer.Secret()), "signature_pub": digits(signer.Public()),
		"encryption_secret": encryption, "sender_data_secret": senderData, "membership_key": membership,
		"proposal": encode(proposal), "proposal_pub": public(proposed), "proposal_priv": private(proposed),
		"commit": encode(commit), "commit_pub": public(committed), "commit_priv": private(committed),
		"application":      data,
		"application_priv": private(framing.FramedContent{ContentType: framing.ContentApplication, Application: data}),
	})
}

// message encodes an MLSMessage.
func message(m framing.Message) digits {
	m.Version = mls.MLS10
	return must(m.Bytes())
}

func generateTranscriptHashes(g *generator) {
	s := g.suite
	key, before := g.hash(), g.hash()
	groupID, epoch := g.bytes(16), uint64(math.MaxUint32)+uint64(g.u32())
	_, commit := g.contents()
	a := must(framing.Sign(s, must(s.GenerateSigner()), framing.WireFormatPrivateMessage, framing.FramedContent{
		GroupID: groupID, Epoch: epoch, Sender: framing.Member(mls.LeafIndex(g.below(100))),
		AuthenticatedData: g.bytes(8), ContentType: framing.ContentCommit, Commit: commit,
	}, g.groupContext(groupID, epoch, g.hash(), g.hash())))
	confirmed := must(a.ConfirmedTranscriptHash(s, before))
	secrets := keyschedule.TestingOnlyEpochSecrets(s, map[string][]byte{"confirmation_key": key})
	a.ConfirmationTag = secrets.ConfirmationTag(confirmed)
	g.add(object{
		"confirmation_key":                key,
		"authenticated_content":           encode(a),
		"interim_transcript_hash_before":  before,
		"confirmed_transcript_hash_after": digits(confirmed),
		"interim_transcript_hash_after":   digits(keyschedule.InterimTranscriptHash(s, confirmed, a.ConfirmationTag)),
	})
}
