package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Kind is what a commit of the schedule does.
type Kind uint8

// The kinds of commits.
const (
	Update Kind = iota // the committer renews its keys
	Add                // a new member joins
	Remove             // a member is removed
	kinds
)

// String returns "update", "add" or "remove".
func (k Kind) String() string {
	return [...]string{"update", "add", "remove"}[k]
}

// Mix is how often each [Kind] of commit occurs, relative to the others.
type Mix [kinds]int

// DefaultMix has all kinds equally often.
var DefaultMix = Mix{1, 1, 1}

// ParseMix reads a mix as in "update=2,add=1,remove=1"; a kind that isn't named
// does not occur.
func ParseMix(text string) (Mix, error) {
	var m Mix
	seen := map[string]bool{}
	for _, part := range strings.Split(text, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			value = "1"
		}
		weight, err := strconv.Atoi(value)
		if err != nil || weight < 0 || weight > 1e6 {
			return Mix{}, fmt.Errorf("sim: weight %q of %q is not a number from 0 to 1000000", value, name)
		}
		kind, err := parseKind(name)
		if err != nil {
			return Mix{}, err
		}
		if seen[name] {
			return Mix{}, fmt.Errorf("sim: %q occurs twice in the mix", name)
		}
		seen[name] = true
		m[kind] = weight
	}
	return m, m.check()
}

func parseKind(name string) (Kind, error) {
	for k := range kinds {
		if k.String() == name {
			return k, nil
		}
	}
	return 0, fmt.Errorf("sim: %q is none of update, add, remove", name)
}

// String returns the form that [ParseMix] reads.
func (m Mix) String() string {
	var parts []string
	for k, weight := range m {
		if weight > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", Kind(k), weight))
		}
	}
	return strings.Join(parts, ",")
}

func (m Mix) total() int {
	sum := 0
	for _, weight := range m {
		sum += weight
	}
	return sum
}

func (m Mix) check() error {
	for _, weight := range m {
		if weight < 0 {
			return errors.New("sim: a negative weight in the mix")
		}
	}
	if m.total() == 0 {
		return errors.New("sim: a mix in which nothing occurs")
	}
	return nil
}

// Step is one commit of a schedule, and the message that shows the group works
// after it. Committer, Target and Speaker are random numbers that stand for a
// rank among the members there are by then.
type Step struct {
	Kind      Kind
	Committer uint64
	Target    uint64 // who is removed
	Speaker   uint64 // who sends the message
}

// Schedule returns the steps of a simulation. They follow from the arguments
// alone. Each kind of the mix occurs once before the mix decides, so that even a
// short schedule shows them all; a group never shrinks below two members.
func Schedule(seed uint64, members, commits int, mix Mix) []Step {
	random := rand.New(rand.NewPCG(seed, uint64(members)))
	first := firstKinds(random, mix)
	steps := make([]Step, commits)
	for i := range steps {
		kind := pick(random, mix)
		if i < len(first) {
			kind = first[i]
		}
		if kind == Remove && members <= 2 {
			kind = Update
			if mix[Add] > 0 {
				kind = Add
			}
		}
		switch kind {
		case Add:
			members++
		case Remove:
			members--
		}
		steps[i] = Step{kind, random.Uint64(), random.Uint64(), random.Uint64()}
	}
	return steps
}

// firstKinds returns the kinds of the mix in random order, Add before Remove:
// the smallest group has nobody to spare.
func firstKinds(random *rand.Rand, mix Mix) []Kind {
	var list []Kind
	for k, weight := range mix {
		if weight > 0 {
			list = append(list, Kind(k))
		}
	}
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	add, remove := -1, -1
	for i, k := range list {
		switch k {
		case Add:
			add = i
		case Remove:
			remove = i
		}
	}
	if add > remove && remove >= 0 {
		list[add], list[remove] = list[remove], list[add]
	}
	return list
}

func pick(random *rand.Rand, mix Mix) Kind {
	n := random.IntN(mix.total())
	for k, weight := range mix {
		if n < weight {
			return Kind(k)
		}
		n -= weight
	}
	return Update // not reached: n is below the sum of the weights
}
