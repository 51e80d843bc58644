package compare

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/treekem/mls/sim/protocols"
)

// expectations reads which designs each attack is expected to succeed against.
func expectations(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/compare/expectations.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], "--") || strings.TrimSpace(cells[1]) == "attack" {
			continue
		}
		name := strings.TrimSpace(cells[1])
		for _, d := range strings.Split(cells[2], ",") {
			out[name] = append(out[name], strings.TrimSpace(d))
		}
		if len(strings.TrimSpace(cells[3])) < 5 {
			t.Errorf("%s: no source", name)
		}
	}
	return out
}

// TestExpectations carries out every attack on every design and holds the
// verdicts against docs/compare/expectations.md.
func TestExpectations(t *testing.T) {
	want := expectations(t)
	for _, a := range Attacks() {
		broken, ok := want[a.Name]
		if !ok {
			t.Errorf("%s is not in the table of expectations", a.Name)
			continue
		}
		for _, d := range protocols.All() {
			o, err := Try(t.Context(), d, a, protocols.NoFlaw)
			if err != nil {
				t.Error(err)
				continue
			}
			expected := Safe
			if slices.Contains(broken, d.Name) {
				expected = Broken
			}
			if o.Verdict != expected {
				t.Errorf("%s against %s: %s, expected %s: %s", a.Name, d.Name, o.Verdict, expected, o.Sentence)
			}
			if o.Verdict == Broken && o.Sample == "" && o.Recovered > 0 && o.Tried > 1 {
				t.Errorf("%s against %s: broken, and no text to show for it", a.Name, d.Name)
			}
		}
	}
}

// TestMutations breaks a property on purpose. The attack that the property is
// there against must then succeed, which it does not otherwise.
func TestMutations(t *testing.T) {
	for _, m := range []struct {
		flaw    protocols.Flaw
		attack  string
		designs []string
	}{
		{protocols.KeepOnLeave, "leaver-future", []string{"groupkey", "hybrid", "hybrid-lax", "mpotr", "senderkeys", "art", "mls", "mls-public"}},
		{protocols.KeepOnJoin, "joiner-past", []string{"groupkey", "hybrid"}},
		{protocols.KeepKeys, "seize-past", []string{"pairwise", "omemo", "senderkeys", "art"}},
		{protocols.KeepKeys, "replay", []string{"senderkeys"}},
		{protocols.SkipSignatures, "forge", []string{"sealed", "groupkey", "pgp", "mpotr", "senderkeys"}},
		{protocols.SkipHistory, "split-messages", []string{"mpotr"}},
		{protocols.IdleUpdate, "seize-healed", []string{"art", "mls", "mls-public"}},
	} {
		attacks, err := FindAttacks([]string{m.attack})
		if err != nil {
			t.Fatal(err)
		}
		designs, err := protocols.Find(m.designs)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range designs {
			o, err := Try(t.Context(), d, attacks[0], m.flaw)
			if err != nil {
				t.Error(err)
			} else if o.Verdict != Broken {
				t.Errorf("flaw %d: %s against %s is %s: %s", m.flaw, m.attack, d.Name, o.Verdict, o.Sentence)
			}
		}
	}
}
