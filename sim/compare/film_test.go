package compare

import "testing"

// TestFilm plays the group of the film: every member reads in every epoch, and
// each commit's ciphertexts are the resolutions of its copath, without the leaves
// that it adds itself.
func TestFilm(t *testing.T) {
	film, err := Shoot(1, MinFilm)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range film.Frames {
		leaves := 0
		for _, n := range f.Nodes {
			if n.Name != "" {
				leaves++
			}
		}
		if len(f.Readers) != leaves {
			t.Errorf("epoch %d: %d members, %d read", f.Epoch, leaves, len(f.Readers))
		}
		added := 0
		if i > 0 {
			added = max(0, leaves-len(film.Frames[i-1].Readers))
		}
		seals := -added
		for _, c := range f.Copath {
			seals += len(c.Resolution)
		}
		if i > 0 && seals != f.Seals {
			t.Errorf("epoch %d: %d ciphertexts, resolutions say %d", f.Epoch, f.Seals, seals)
		}
	}
}
