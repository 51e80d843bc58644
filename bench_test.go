package mls

import (
	"crypto/hkdf"
	"crypto/rand"
	"testing"

	"github.com/cloudflare/circl/dh/x25519"
)

func benchSuites(b *testing.B, f func(*testing.B, *Suite)) {
	b.Helper()
	for _, s := range Suites() {
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			f(b, s)
		})
	}
}

var (
	benchContext = make([]byte, 150) // a group context without extensions
	benchSecret  = make([]byte, 32)  // a path secret of suite 1
)

func BenchmarkEncryptWithLabel(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *Suite) {
		pub := mustKey(b, s).Public()
		for b.Loop() {
			if _, err := s.EncryptWithLabel(pub, "UpdatePathNode", benchContext, benchSecret); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecryptWithLabel(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *Suite) {
		k := mustKey(b, s)
		ct, err := s.EncryptWithLabel(k.Public(), "UpdatePathNode", benchContext, benchSecret)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := s.DecryptWithLabel(k, "UpdatePathNode", benchContext, ct); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDeriveKeyPair(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *Suite) {
		ikm := RandomSecret(s.HashSize())
		for b.Loop() {
			if _, err := s.DeriveKeyPair(ikm); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSignWithLabel(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *Suite) {
		k, err := s.GenerateSigner()
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := s.SignWithLabel(k, "FramedContentTBS", benchContext); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerifyWithLabel(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *Suite) {
		k, err := s.GenerateSigner()
		if err != nil {
			b.Fatal(err)
		}
		pub := k.Public()
		sig, err := s.SignWithLabel(k, "FramedContentTBS", benchContext)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if err := s.VerifyWithLabel(pub, "FramedContentTBS", benchContext, sig); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkExpandWithLabel(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *Suite) {
		secret := RandomSecret(s.HashSize())
		for b.Loop() {
			s.ExpandWithLabel(secret, "epoch", benchContext, s.HashSize())
		}
	})
}

func BenchmarkDeriveSecret(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *Suite) {
		secret := RandomSecret(s.HashSize())
		for b.Loop() {
			s.DeriveSecret(secret, "path")
		}
	})
}

func BenchmarkHash(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *Suite) {
		in := make([]byte, 200) // about a parent node's TreeHashInput
		b.SetBytes(int64(len(in)))
		for b.Loop() {
			s.Hash(in)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *Suite) {
		key, nonce, plaintext := RandomSecret(s.KeySize()), make([]byte, s.NonceSize()), make([]byte, 1024)
		b.SetBytes(int64(len(plaintext)))
		for b.Loop() {
			if _, err := s.Seal(nil, key, nonce, benchContext, plaintext); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *Suite) {
		key, nonce, plaintext := RandomSecret(s.KeySize()), make([]byte, s.NonceSize()), make([]byte, 1024)
		ct, err := s.Seal(nil, key, nonce, benchContext, plaintext)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(plaintext)))
		for b.Loop() {
			if _, err := s.Open(key, nonce, benchContext, ct); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkX25519 is the floor of suite 1: a seal is a KeyGen and a Shared, an
// open a Shared, a derivation a KeyGen.
func BenchmarkX25519(b *testing.B) {
	var raw, pub, dh x25519.Key
	rand.Read(raw[:])
	b.Run("KeyGen", func(b *testing.B) {
		for b.Loop() {
			x25519.KeyGen(&pub, &raw)
		}
	})
	b.Run("Shared", func(b *testing.B) {
		for b.Loop() {
			x25519.Shared(&dh, &raw, &pub)
		}
	})
}

// BenchmarkCIRCLSeal and BenchmarkCIRCLOpen are the same work through CIRCL's
// package hpke, with keys already parsed: what baseMode has to beat.
func BenchmarkCIRCLSeal(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *Suite) {
		suite, scheme, ok := peerSuite(s)
		if !ok {
			b.Skip("CIRCL doesn't have it")
		}
		pub, _, err := scheme.GenerateKeyPair()
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			sender, _ := suite.NewSender(pub, benchContext)
			_, sealer, err := sender.Setup(rand.Reader)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := sealer.Seal(benchSecret, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCIRCLOpen(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *Suite) {
		suite, scheme, ok := peerSuite(s)
		if !ok {
			b.Skip("CIRCL doesn't have it")
		}
		pub, priv, err := scheme.GenerateKeyPair()
		if err != nil {
			b.Fatal(err)
		}
		enc, ct, err := s.hpke.seal(must(pub.MarshalBinary()), s.hpke.prepare(nil, benchContext), benchSecret)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			receiver, _ := suite.NewReceiver(priv, benchContext)
			opener, err := receiver.Setup(enc)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := opener.Open(ct, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// BenchmarkStandardHKDF is what [hashAlg.hmac] has to beat: the expansion of
// BenchmarkDeriveSecret through crypto/hkdf.
func BenchmarkStandardHKDF(b *testing.B) {
	benchSuites(b, func(b *testing.B, s *Suite) {
		secret := RandomSecret(s.HashSize())
		info := string(appendLabel([]byte{0, 32}, labelPrefix, "path")) + "\x00"
		for b.Loop() {
			if _, err := hkdf.Expand(s.NewHash, secret.UnsafeBytes(), info, s.HashSize()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
