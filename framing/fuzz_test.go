package framing

import (
	"bytes"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// fuzzCanonical holds a decoder to its promise: what it accepts, it encodes to
// the same bytes. The seeds are taken from messages.json and their number is
// known, so that a corpus that has gone missing is noticed.
func fuzzCanonical[T any, P interface {
	*T
	codec
}](f *testing.F, seeds [][]byte, want int) {
	f.Helper()
	if len(seeds) != want {
		f.Fatalf("%d seeds, want %d", len(seeds), want)
	}
	for _, s := range seeds {
		if err := wire.Unmarshal(s, P(new(T))); err != nil {
			f.Fatalf("a seed does not decode: %v", err)
		}
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v := P(new(T))
		if wire.Unmarshal(data, v) != nil {
			return
		}
		again, err := wire.Marshal(v)
		if err != nil {
			t.Fatalf("decoded from %x and not encodable: %v", data, err)
		}
		if !bytes.Equal(again, data) {
			t.Fatalf("decoded from %x and encoded as %x", data, again)
		}
	})
}

// seeds collects from every case of messages.json.
func seeds(f *testing.F, pick func(v *messagesVector) [][]byte) [][]byte {
	f.Helper()
	var out [][]byte
	vectors := loadMessages(f)
	for i := range vectors {
		out = append(out, pick(&vectors[i])...)
	}
	return out
}

// body cuts version and wire format off an MLSMessage.
func body(message []byte) []byte { return message[4:] }

func (v *messagesVector) publicMessages() [][]byte {
	return [][]byte{v.PublicApplication, v.PublicProposal, v.PublicCommit}
}

func FuzzMessage(f *testing.F) {
	fuzzCanonical[Message](f, seeds(f, func(v *messagesVector) [][]byte {
		var out [][]byte
		for _, x := range v.messages() {
			out = append(out, x.data)
		}
		return out
	}), 7*messagesCount)
}

func FuzzPublicMessage(f *testing.F) {
	fuzzCanonical[PublicMessage](f, seeds(f, func(v *messagesVector) [][]byte {
		var out [][]byte
		for _, m := range v.publicMessages() {
			out = append(out, body(m))
		}
		return out
	}), 3*messagesCount)
}

func FuzzPrivateMessage(f *testing.F) {
	fuzzCanonical[PrivateMessage](f, seeds(f, func(v *messagesVector) [][]byte {
		return [][]byte{body(v.Private)}
	}), messagesCount)
}

func FuzzAuthenticatedContent(f *testing.F) {
	fuzzCanonical[AuthenticatedContent](f, seeds(f, func(v *messagesVector) [][]byte {
		var out [][]byte
		for _, data := range v.publicMessages() {
			m, err := Parse(data)
			if err != nil {
				f.Fatal(err)
			}
			out = append(out, mustMarshal(f, &AuthenticatedContent{
				WireFormat:      WireFormatPublicMessage,
				Content:         m.Public.Content,
				Signature:       m.Public.Signature,
				ConfirmationTag: m.Public.ConfirmationTag,
			}))
		}
		return out
	}), 3*messagesCount)
}

func FuzzProposal(f *testing.F) {
	fuzzCanonical[Proposal](f, seeds(f, func(v *messagesVector) [][]byte {
		var out [][]byte
		for typ, data := range map[mls.ProposalType][]byte{
			mls.ProposalAdd:                    v.Add,
			mls.ProposalUpdate:                 v.Update,
			mls.ProposalRemove:                 v.Remove,
			mls.ProposalPSK:                    v.PreSharedKey,
			mls.ProposalReInit:                 v.ReInit,
			mls.ProposalExternalInit:           v.ExternalInit,
			mls.ProposalGroupContextExtensions: v.GroupContextExtensions,
		} {
			out = append(out, append([]byte{byte(typ >> 8), byte(typ)}, data...))
		}
		return out
	}), 7*messagesCount)
}

func FuzzCommit(f *testing.F) {
	fuzzCanonical[Commit](f, seeds(f, func(v *messagesVector) [][]byte {
		return [][]byte{v.Commit}
	}), messagesCount)
}

func FuzzWelcome(f *testing.F) {
	fuzzCanonical[Welcome](f, seeds(f, func(v *messagesVector) [][]byte {
		return [][]byte{body(v.Welcome)}
	}), messagesCount)
}

func FuzzGroupInfo(f *testing.F) {
	fuzzCanonical[GroupInfo](f, seeds(f, func(v *messagesVector) [][]byte {
		return [][]byte{body(v.GroupInfo)}
	}), messagesCount)
}

func FuzzGroupSecrets(f *testing.F) {
	fuzzCanonical[GroupSecrets](f, seeds(f, func(v *messagesVector) [][]byte {
		return [][]byte{v.GroupSecrets}
	}), messagesCount)
}
