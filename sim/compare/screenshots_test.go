package compare

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "make the pictures in docs/compare/screenshots anew")

// only shows one section of the page, and an epoch of the tree.
const only = `<script>
addEventListener("load",function(){
 var on=false;
 [].slice.call(document.querySelector("main").children).forEach(function(e){if(e.tagName==="H2")on=e.textContent===%q;if(!on&&e.tagName!=="H1")e.style.display="none"});
 var at=document.getElementById("at");at.value=%d;at.dispatchEvent(new Event("input"));
});
</script>`

// TestScreenshots makes the pictures of the report that is kept in docs, if it is
// asked to: go test ./sim/compare -run TestScreenshots -update
func TestScreenshots(t *testing.T) {
	if !*update {
		t.Skip("pictures are made with -update")
	}
	const docs = "../../docs/compare"
	kept, err := os.ReadFile(filepath.Join(docs, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	large := smallReport(t)
	if large.Film, err = Shoot(1, 256); err != nil {
		t.Fatal(err)
	}
	var folded strings.Builder
	if err := large.WriteHTML(&folded); err != nil {
		t.Fatal(err)
	}
	const attacks, curves, tree = "The attacks", "How costs grow", "The tree, epoch by epoch"
	for _, s := range []struct {
		file, page, section, size, more string
		epoch                           int
		dark                            bool
	}{
		{file: "desktop-attacks", page: string(kept), section: attacks, size: "1280,1500"},
		{file: "desktop-curves", page: string(kept), section: curves, size: "1280,1700"},
		{file: "desktop-tree-dark", page: string(kept), section: tree, size: "1280,900", epoch: 2, dark: true},
		{file: "desktop-tree-folded", page: folded.String(), section: tree, size: "1280,900", epoch: 12},
		{file: "phone-attacks", page: string(kept), section: attacks, size: "500,1700", more: narrow},
		{file: "phone-curves", page: string(kept), section: curves, size: "500,1700", more: narrow},
	} {
		page := strings.Replace(s.page, "</body>", s.more+fmt.Sprintf(only, s.section, s.epoch)+"</body>", 1)
		if s.dark {
			page = strings.Replace(page, "(prefers-color-scheme:dark)", "all", 1)
		}
		dir := t.TempDir()
		file := filepath.Join(dir, "page.html")
		if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		out, err := exec.CommandContext(ctx, "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir="+filepath.Join(dir, "profile"),
			"--virtual-time-budget=3000", "--window-size="+s.size, "--screenshot="+filepath.Join(docs, "screenshots", s.file+".png"), "file://"+file).CombinedOutput()
		stop()
		if err != nil {
			t.Fatalf("%s: %v\n%s", s.file, err, out)
		}
	}
}
