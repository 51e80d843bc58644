package framing

import (
	"bytes"
	"testing"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// kibibyte is the application data the costs are stated for.
var kibibyte = FramedContent{ContentType: ContentApplication, Application: bytes.Repeat([]byte{0x42}, 1024)}

// BenchmarkSend is all that sending 1 KiB takes: sign, protect, encode.
func BenchmarkSend(b *testing.B) {
	for _, s := range mls.Suites() {
		b.Run(s.String(), func(b *testing.B) {
			alice := newParties(b, s, 1)[0]
			b.ReportAllocs()
			for b.Loop() {
				sendKibibyte(b, alice)
			}
		})
	}
}

func sendKibibyte(b testing.TB, p *party) []byte {
	a, err := Sign(p.suite, p.signer, WireFormatPrivateMessage, p.content(kibibyte), p.context)
	if err != nil {
		b.Fatal(err)
	}
	data, err := ProtectPrivate(p.suite, p.epoch, p.tree, a, 0)
	if err != nil {
		b.Fatal(err)
	}
	return data
}

// BenchmarkReceive is all that receiving 1 KiB takes: parse, unprotect, verify.
func BenchmarkReceive(b *testing.B) {
	for _, s := range mls.Suites() {
		b.Run(s.String(), func(b *testing.B) {
			alice, bob := twoParties(b, s)
			sent := make([][]byte, b.N)
			for i := range sent {
				sent[i] = sendKibibyte(b, alice)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for _, data := range sent {
				receive(b, alice, bob, data)
			}
		})
	}
}

func receive(b testing.TB, from, to *party, data []byte) {
	m, err := Parse(data)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := to.unprotect(from, m.Private); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkSendFloor is the least that sending can take: one signature and one
// AEAD encryption of the content.
func BenchmarkSendFloor(b *testing.B) {
	for _, s := range mls.Suites() {
		b.Run(s.String(), func(b *testing.B) {
			alice := newParties(b, s, 1)[0]
			tbs, plaintext, aad := floorInput(b, alice)
			key, nonce := mls.RandomSecret(s.KeySize()), make([]byte, s.NonceSize())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.SignWithLabel(alice.signer, labelFramedContentTBS, tbs); err != nil {
					b.Fatal(err)
				}
				if _, err := s.Seal(nil, key, nonce, aad, plaintext); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReceiveFloor is the least that receiving can take: one AEAD
// decryption of the content and one verification.
func BenchmarkReceiveFloor(b *testing.B) {
	for _, s := range mls.Suites() {
		b.Run(s.String(), func(b *testing.B) {
			alice := newParties(b, s, 1)[0]
			tbs, plaintext, aad := floorInput(b, alice)
			key, nonce := mls.RandomSecret(s.KeySize()), make([]byte, s.NonceSize())
			sig, err := s.SignWithLabel(alice.signer, labelFramedContentTBS, tbs)
			if err != nil {
				b.Fatal(err)
			}
			ciphertext, err := s.Seal(nil, key, nonce, aad, plaintext)
			if err != nil {
				b.Fatal(err)
			}
			pub := alice.signer.Public()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Open(key, nonce, aad, ciphertext); err != nil {
					b.Fatal(err)
				}
				if err := s.VerifyWithLabel(pub, labelFramedContentTBS, tbs, sig); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func floorInput(b *testing.B, p *party) (tbs, plaintext, aad []byte) {
	b.Helper()
	a := p.sign(b, WireFormatPrivateMessage, p.content(kibibyte))
	tbs, err := a.signedBytes(p.context)
	if err != nil {
		b.Fatal(err)
	}
	if plaintext, err = privateContent(a, 0, MaxCiphertext); err != nil {
		b.Fatal(err)
	}
	m := &PrivateMessage{GroupID: a.Content.GroupID, Epoch: a.Content.Epoch, ContentType: a.Content.ContentType}
	if aad, _, err = m.aads(new(wire.Builder)); err != nil {
		b.Fatal(err)
	}
	return tbs, plaintext, aad
}

// BenchmarkSendPublic is a proposal in a PublicMessage.
func BenchmarkSendPublic(b *testing.B) {
	alice := newParties(b, suite1(b), 1)[0]
	c := alice.content(proposing(removal(1)))
	b.ReportAllocs()
	for b.Loop() {
		a, err := Sign(alice.suite, alice.signer, WireFormatPublicMessage, c, alice.context)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := ProtectPublic(alice.suite, alice.epoch, a, alice.context); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParse decodes one message of each wire format.
func BenchmarkParse(b *testing.B) {
	v := loadMessages(b)[0]
	for _, x := range v.messages() {
		b.Run(x.name, func(b *testing.B) {
			b.SetBytes(int64(len(x.data)))
			b.ReportAllocs()
			for b.Loop() {
				if err := wire.Unmarshal(x.data, new(Message)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
