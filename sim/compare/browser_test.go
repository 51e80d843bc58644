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

// probe reports, in the title of the page, errors of its scripts, how far anything
// reaches beyond its width, and how many curves and nodes are drawn.
const probe = `<script>
addEventListener("load",function(){
 var d=document.documentElement,curves=0;
 document.querySelectorAll("polyline").forEach(function(p){if(p.getBoundingClientRect().width>50)curves++});
 var small=0;document.querySelectorAll("td,p,li").forEach(function(e){if(parseFloat(getComputedStyle(e).fontSize)<11)small++});
 var right=0;document.querySelectorAll("body *").forEach(function(e){if(!e.closest("svg *"))right=Math.max(right,e.getBoundingClientRect().right)});
 var w=d.getBoundingClientRect().width,over=Math.max(0,Math.round(right-w),d.scrollWidth-d.clientWidth);
 document.title="errors="+errors+" over="+over+" width="+Math.round(w)+" curves="+curves+" nodes="+document.querySelectorAll("#tree circle").length+" small="+small;
});
</script>`

// narrow makes the page as narrow as a phone: the browser's windows are 500
// pixels wide at least, and the page's own rules change at more than that.
const narrow = `<style>html{max-width:375px}</style>`

const catcher = `<script>var errors=0;addEventListener("error",function(){errors++})</script>`

// TestPageInBrowser opens a report in headless Chromium as on a phone and on a
// desktop. It needs Chromium, of Debian's package of that name.
func TestPageInBrowser(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium here: apt-get install chromium")
	}
	var page strings.Builder
	if err := smallReport(t).WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	html := strings.Replace(page.String(), "<style>", catcher+"<style>", 1)
	dir := t.TempDir()
	title := regexp.MustCompile(`<title>errors=(\d+) over=(-?\d+) width=(\d+) curves=(\d+) nodes=(\d+) small=(\d+)</title>`)
	for size, more := range map[string]string{"500,844": narrow, "1280,900": ""} {
		file := filepath.Join(dir, size+".html")
		if err := os.WriteFile(file, []byte(strings.Replace(html, "</body>", more+probe+"</body>", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		out, err := exec.CommandContext(ctx, browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--user-data-dir="+filepath.Join(dir, "profile"+size),
			"--virtual-time-budget=3000", "--window-size="+size, "--dump-dom", "file://"+file).Output()
		if err != nil {
			t.Fatalf("chromium: %v", err)
		}
		m := title.FindStringSubmatch(string(out))
		if m == nil {
			t.Fatalf("%s: the page's script did not run: %.300s", size, out)
		}
		var errs, over, width, curves, nodes, small int
		fmt.Sscan(strings.Join(m[1:], " "), &errs, &over, &width, &curves, &nodes, &small)
		if errs > 0 || over > 0 || curves < 5 || nodes < 8 || small > 0 {
			t.Errorf("at %s: %s", size, m[0])
		}
		t.Logf("%s: %s", size, m[0])
	}
}
