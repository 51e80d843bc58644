package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"

	"github.com/treekem/mls"
	"github.com/treekem/mls/internal/wire"
)

// GenerateOptions say what [Generate] makes. The zero value makes all kinds
// for all suites.
type GenerateOptions struct {
	// Suites are the suites to make cases for; empty means all.
	Suites []*mls.Suite
	// Kinds are the kinds to make; empty means all 16.
	Kinds []string
	// Progress, if not nil, is called before each file is made.
	Progress func(file string)
}

// Generate writes vectors in the working group's formats into dir, one file
// per kind, which it makes if need be; files of these names are replaced. It
// runs every case before it writes it.
//
// The keys in the vectors are fresh random ones that serve no other purpose:
// they are published with the vectors. Nothing made twice is the same.
func Generate(ctx context.Context, dir string, opt GenerateOptions) error {
	if len(opt.Suites) == 0 {
		opt.Suites = mls.Suites()
	}
	if len(opt.Kinds) == 0 {
		opt.Kinds = Kinds()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("conformance: %w", err)
	}
	for _, name := range opt.Kinds {
		k := findKind(name)
		if k == nil {
			return fmt.Errorf("conformance: unknown kind %q", name)
		}
		if opt.Progress != nil {
			opt.Progress(name + ".json")
		}
		data, err := k.file(ctx, opt.Suites)
		if err != nil {
			return fmt.Errorf("conformance: generate %s: %w", name, err)
		}
		err = writeAtomically(filepath.Join(dir, name+".json"), func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
		if err != nil {
			return fmt.Errorf("conformance: %w", err)
		}
	}
	return nil
}

// file returns a file of the kind, every case of which passes.
func (k *kind) file(ctx context.Context, suites []*mls.Suite) ([]byte, error) {
	var all []object
	for _, s := range suites {
		cases, err := k.cases(s)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", s, err)
		}
		all = append(all, cases...)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if k.suites == suiteNone {
			break
		}
	}
	data, err := encodeCases(all)
	if err != nil {
		return nil, err
	}
	parsed, err := parseCases(data)
	if err != nil {
		return nil, err
	}
	var f FileReport
	f.runCases(ctx, k, parsed, Options{})
	if f.Failed > 0 {
		return nil, errors.New(f.Failures[0].String())
	}
	return data, ctx.Err()
}

// encodeCases writes a case per line, so that a new case is a line in a diff.
func encodeCases(cases []object) ([]byte, error) {
	var b bytes.Buffer
	for i, c := range cases {
		b.WriteString(map[bool]string{true: "[\n", false: ",\n"}[i == 0])
		data, err := json.Marshal(c)
		if err != nil {
			return nil, err
		}
		b.Write(data)
	}
	b.WriteString("\n]\n")
	return b.Bytes(), nil
}

func (k *kind) cases(s *mls.Suite) (cases []object, err error) {
	g := &generator{suite: s}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case generatorError:
			err = r.error
		default:
			panic(r)
		}
	}()
	k.generate(g)
	if k.suites == suiteField {
		for _, c := range g.cases {
			c["cipher_suite"] = s.ID()
		}
	}
	return g.cases, nil
}

// A generator collects the cases for one suite.
type generator struct {
	suite *mls.Suite
	cases []object
}

// An object is a JSON object. Byte strings in it are of type digits.
type object map[string]any

// digits is a byte string that JSON has in hexadecimal.
type digits []byte

// MarshalJSON implements [json.Marshaler].
func (d digits) MarshalJSON() ([]byte, error) {
	return json.Marshal(hex.EncodeToString(d))
}

// reveal returns a secret for publication in a vector.
func reveal(s mls.Secret) digits { return bytes.Clone(s.UnsafeBytes()) }

// generatorError is thrown as a panic and caught by [kind.cases].
type generatorError struct{ error }

// try stops the generator if err is not nil.
func try(err error) {
	if err != nil {
		panic(generatorError{err})
	}
}

// must returns v, unless err stops the generator.
func must[T any](v T, err error) T {
	try(err)
	return v
}

func encode(e wire.Encoder) digits { return must(wire.Marshal(e)) }

func (g *generator) add(c object) { g.cases = append(g.cases, c) }

// bytes returns n random bytes.
func (g *generator) bytes(n int) digits {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}

// hash returns random bytes of the size of a hash.
func (g *generator) hash() digits { return g.bytes(g.suite.HashSize()) }

func (g *generator) secret(d digits) mls.Secret { return mls.NewSecret(bytes.Clone(d)) }

// u32 returns a random number.
func (g *generator) u32() uint32 { return mathrand.Uint32() }

// below returns a random number less than n. Nothing secret depends on it.
func (g *generator) below(n int) int { return mathrand.IntN(n) }
