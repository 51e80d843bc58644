package compare

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// probe steps through all epochs of the tree and reports, in the title of the page,
// errors of its scripts, how far anything reaches beyond its width, how many curves
// and nodes are drawn, and what is folded.
const probe = `<script>
addEventListener("load",function(){
 var d=document.documentElement,curves=0,right=0,over=0,nodes=0,folded=0,rings=0;
 document.querySelectorAll("polyline").forEach(function(p){if(p.getBoundingClientRect().width>50)curves++});
 var small=0;document.querySelectorAll("td,p,li").forEach(function(e){if(parseFloat(getComputedStyle(e).fontSize)<11)small++});
 var w=d.getBoundingClientRect().width,at=document.getElementById("at"),last=+at.max;
 for(var i=0;i<=last;i++){at.value=i;at.dispatchEvent(new Event("input"));
  document.querySelectorAll("body *").forEach(function(e){if(!e.closest("svg *"))right=Math.max(right,e.getBoundingClientRect().right)});
  over=Math.max(over,Math.round(right-w),d.scrollWidth-d.clientWidth);
  nodes=document.querySelectorAll("#tree circle").length;folded=0;
  document.querySelectorAll("#tree .count").forEach(function(e){folded+=+e.textContent});
  rings=Math.max(rings,document.querySelectorAll("#tree .folded.target").length);
 }
 document.title="errors="+errors+" over="+over+" width="+Math.round(w)+" curves="+curves+" frames="+(last+1)+" nodes="+nodes+" folded="+folded+" rings="+rings+" small="+small;
});
</script>`

// narrow makes the page as narrow as a phone: the browser's windows are 500
// pixels wide at least, and the page's own rules change at more than that.
const narrow = `<style>html{max-width:375px}</style>`

const catcher = `<script>var errors=0;addEventListener("error",function(){errors++})</script>`

// TestPageInBrowser opens a report in headless Chromium as on a phone and on a
// desktop: with a tree that is drawn whole, and with one of 128 members, which is
// folded. It needs Chromium, of Debian's package of that name.
func TestPageInBrowser(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium here: apt-get install chromium")
	}
	if _, err := browse(t, browser, "500,500", "about:blank"); err != nil {
		t.Skipf("SKIPPED: chromium does not run here, not even with an empty page: %v", err)
	}
	report := smallReport(t)
	look := func(name string, check func(sight) bool) {
		t.Helper()
		var page strings.Builder
		if err := report.WriteHTML(&page); err != nil {
			t.Fatal(err)
		}
		for size, more := range map[string]string{"500,844": narrow, "1280,900": ""} {
			l := lookAt(t, browser, page.String(), size, more)
			if l.errors > 0 || l.over > 0 || l.curves < 5 || l.small > 0 || l.frames != len(report.Film.Frames) || !check(l) {
				t.Errorf("%s at %s: %+v", name, size, l)
			}
			t.Logf("%s at %s: %+v", name, size, l)
		}
	}
	look("whole", func(l sight) bool { return l.nodes == 2*MinFilm-1 && l.folded == 0 })
	if report.Film, err = Shoot(1, 128); err != nil {
		t.Fatal(err)
	}
	// Two of the members are removed in the end; the first path after the bulk add
	// is encrypted to members all over the tree.
	look("folded", func(l sight) bool { return l.nodes == 63 && l.folded == 126 && l.rings > 8 })
}

// sight is what probe found.
type sight struct{ errors, over, width, curves, frames, nodes, folded, rings, small int }

var lookTitle = regexp.MustCompile(`<title>errors=(\d+) over=(-?\d+) width=(\d+) curves=(\d+) frames=(\d+) nodes=(\d+) folded=(\d+) rings=(\d+) small=(\d+)</title>`)

// browse opens an address in a window of a size, and returns the page as it is then.
// The browser's helpers can outlive it, and write into its profile when that is
// being removed: what is left of it is no failure.
func browse(t *testing.T, browser, size, address string) ([]byte, error) {
	t.Helper()
	profile, err := os.MkdirTemp("", "mls-browser")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(profile)
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir="+profile, "--virtual-time-budget=3000", "--window-size="+size, "--dump-dom", address)
	cmd.WaitDelay = time.Minute
	return cmd.Output()
}

// lookAt opens a page in a window of a size, with more put at its end.
func lookAt(t *testing.T, browser, html, size, more string) (l sight) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "page.html")
	html = strings.Replace(html, "<style>", catcher+"<style>", 1)
	if err := os.WriteFile(file, []byte(strings.Replace(html, "</body>", more+probe+"</body>", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := browse(t, browser, size, "file://"+file)
	if err != nil {
		t.Fatalf("chromium: %v", err)
	}
	m := lookTitle.FindStringSubmatch(string(out))
	if m == nil {
		t.Fatalf("%s: the page's script did not run: %.300s", size, out)
	}
	fmt.Sscan(strings.Join(m[1:], " "), &l.errors, &l.over, &l.width, &l.curves, &l.frames, &l.nodes, &l.folded, &l.rings, &l.small)
	return l
}
