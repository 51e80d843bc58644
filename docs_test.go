package mls_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	requirementsFile = "docs/rfc9420.md"
	sectionsFile     = "docs/sections.txt"
)

var (
	sectionForm = regexp.MustCompile(`^(?:\d+|[A-D])(?:\.\d+)*$`)
	ruleForm    = regexp.MustCompile(`^(\d+(?:\.\d+)*)/([a-z0-9]+(?:-[a-z0-9]+)*)$`)
	// errorForm is a sentinel of the root package: what a rejected input is
	// refused as when no rule of its own is named.
	errorForm = regexp.MustCompile(`^(?:Err[A-Z]\w*|EpochError)$`)
	// codeForm is how the table names code: package.Function, package.Type,
	// package.Type.Method. The package is the directory; mls is the root.
	codeForm = regexp.MustCompile(`^([a-z][\w/]*)\.([A-Za-z]\w*(?:\.\w+)?)$`)
	// citationForm finds every section of RFC 9420 that a text cites.
	citationForm = regexp.MustCompile(`RFC 9420,? (?:[Ss]ections?|[Aa]ppendix|§§?) ?((?:\d+|[A-D])(?:\.\d+)*(?:(?:, | and | or |, and | to |-|–)\d+(?:\.\d+)*)*)`)
	numberForm   = regexp.MustCompile(`(?:\d+|[A-D])(?:\.\d+)*`)
)

// requirement is a row of docs/rfc9420.md.
type requirement struct {
	line     int
	id       string
	level    string   // MUST, SHOULD, …; "rule" for a check that the text states without a keyword, "own" for a bound of ours
	text     string   // in our words
	rules    []string // section/rule, how input that breaks it is refused
	errors   []string // or the sentinel
	code     []string // the functions that enforce it
	tests    []string // the tests that show it
	excused  bool     // not the code's to enforce: the row says whose, and why
	problems []string
}

// TestRequirements holds docs/rfc9420.md against the code: each function and
// test that it names exists; the rules that the code refuses input by and the
// rules of the table are the same; and each rule is asserted by a test that its
// row names. It reports everything that is missing in one failure.
func TestRequirements(t *testing.T) {
	rows := readRequirements(t)
	code := readCode(t)
	sections := readSections(t)
	var missing []string
	report := func(line int, what string) {
		missing = append(missing, requirementsFile+":"+strconv.Itoa(line)+": "+what)
	}

	ids := map[string]int{}
	inTable := map[string]bool{}
	for _, r := range rows {
		for _, p := range checkRow(r, code, sections) {
			report(r.line, r.id+": "+p)
		}
		if first, ok := ids[r.id]; ok {
			report(r.line, r.id+": this id is on line "+strconv.Itoa(first)+" already")
		}
		ids[r.id] = r.line
		for _, rule := range r.rules {
			inTable[rule] = true
		}
	}
	for _, rule := range slices.Sorted(maps.Keys(code.rules)) {
		if !inTable[rule] {
			missing = append(missing, code.rules[rule]+": refuses input by "+rule+", which is in no row of "+requirementsFile)
		}
	}
	missing = append(missing, code.problems...)
	if len(missing) > 0 {
		t.Errorf("%d places where the table of requirements and the code disagree:\n%s", len(missing), strings.Join(missing, "\n"))
	}
}

// checkRow returns what is wrong with one row.
func checkRow(r requirement, code codeIndex, sections map[string]bool) []string {
	problems := slices.Clone(r.problems)
	if section, _, ok := strings.Cut(r.id, "/"); !ok || !sections[section] {
		problems = append(problems, "the id must be a section of the RFC, a slash and a name")
	}
	if !slices.Contains([]string{"MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "RECOMMENDED", "rule", "own"}, r.level) {
		problems = append(problems, "level "+strconv.Quote(r.level)+" is none of MUST, MUST NOT, SHOULD, SHOULD NOT, RECOMMENDED, rule, own")
	}
	for _, rule := range r.rules {
		if section, _, _ := strings.Cut(rule, "/"); !sections[section] {
			problems = append(problems, "rule "+rule+" names a section that the RFC doesn't have")
		}
		if code.rules[rule] == "" {
			problems = append(problems, "no code refuses input by the rule "+rule)
		}
		if len(r.tests) > 0 && !slices.ContainsFunc(r.tests, func(test string) bool { return code.asserts(test, rule) }) {
			problems = append(problems, "no file of the tests named asserts the rule "+rule)
		}
	}
	for _, e := range r.errors {
		if !code.has("mls." + e) {
			problems = append(problems, "there is no mls."+e)
		}
	}
	for _, name := range r.tests {
		if _, ok := code.tests[testFunction(name)]; !ok {
			problems = append(problems, "there is no test "+name)
		}
	}
	if r.excused {
		return problems
	}
	if len(r.code) == 0 {
		problems = append(problems, "no function enforces it")
	}
	for _, name := range r.code {
		if !code.has(name) {
			problems = append(problems, "there is no "+name)
		}
	}
	if len(r.tests) == 0 {
		problems = append(problems, "no test shows it")
	}
	return problems
}

// testFunction cuts the name of a subtest off.
func testFunction(name string) string {
	dir, file := path.Split(name)
	if dir == "" || !strings.Contains(dir, ".") {
		return dir + file
	}
	i := strings.Index(name, ".")
	if j := strings.Index(name[i:], "/"); j >= 0 {
		return name[:i+j]
	}
	return name
}

// readRequirements parses every table of docs/rfc9420.md whose first column is "id".
func readRequirements(t *testing.T) []requirement {
	t.Helper()
	data, err := os.ReadFile(requirementsFile)
	if err != nil {
		t.Fatal(err)
	}
	var rows []requirement
	inTable := false
	for i, line := range strings.Split(string(data), "\n") {
		if !strings.HasPrefix(line, "|") {
			inTable = false
			continue
		}
		cells := splitRow(line)
		switch {
		case cells[0] == "id":
			inTable = true
		case inTable && !strings.HasPrefix(cells[0], "--") && !strings.HasPrefix(cells[0], ":-"):
			rows = append(rows, parseRow(i+1, cells))
		}
	}
	if len(rows) == 0 {
		t.Fatalf("%s holds no table of requirements", requirementsFile)
	}
	return rows
}

func splitRow(line string) []string {
	line = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "|"), "|")
	cells := strings.Split(line, "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}

// parseRow reads the cells: id, level, requirement, refused as, enforced by, shown by.
func parseRow(line int, cells []string) requirement {
	r := requirement{line: line, id: cells[0]}
	if len(cells) != 6 {
		r.problems = append(r.problems, "a row has 6 cells, this one "+strconv.Itoa(len(cells)))
		return r
	}
	r.level, r.text = cells[1], cells[2]
	if r.text == "" {
		r.problems = append(r.problems, "the requirement is not stated")
	}
	for _, name := range quoted(cells[3]) {
		switch {
		case ruleForm.MatchString(name):
			r.rules = append(r.rules, name)
		case errorForm.MatchString(name):
			r.errors = append(r.errors, name)
		default:
			r.problems = append(r.problems, name+" is neither section/rule nor an error of package mls")
		}
	}
	if who, why, ok := strings.Cut(cells[4], ": "); ok && !strings.Contains(who, "`") {
		r.excused = true
		if who != "application" && who != "by construction" && who != "not applicable" || why == "" {
			r.problems = append(r.problems, "a row that names no function says “application: why”, “by construction: why” or “not applicable: why”")
		}
	} else {
		r.code = quoted(cells[4])
	}
	r.tests = quoted(cells[5])
	for _, name := range slices.Concat(r.code, r.tests) {
		if !codeForm.MatchString(testFunction(name)) {
			r.problems = append(r.problems, name+" is not of the form package.Name or package.Type.Method")
		}
	}
	return r
}

// quoted returns the words of a cell that stand between backticks.
func quoted(cell string) []string {
	var words []string
	for i, part := range strings.Split(cell, "`") {
		if i%2 == 1 {
			words = append(words, part)
		}
	}
	return words
}

// readSections returns the section numbers of RFC 9420.
func readSections(t *testing.T) map[string]bool {
	t.Helper()
	data, err := os.ReadFile(sectionsFile)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		number, _, _ := strings.Cut(line, " ")
		if sectionForm.MatchString(number) {
			sections[number] = true
		}
	}
	if len(sections) != 122 {
		t.Fatalf("%s lists %d sections, RFC 9420 has 122", sectionsFile, len(sections))
	}
	return sections
}

// codeIndex is what the tests need to know of the code.
type codeIndex struct {
	names    map[string]bool            // package.Name and package.Type.Method of non-test code
	tests    map[string]string          // package.TestName → its file
	rules    map[string]string          // section/rule → where non-test code refuses input by it
	asserted map[string]map[string]bool // test file → the rules that it names
	problems []string
}

func (c codeIndex) has(name string) bool { return c.names[name] }

// asserts reports whether the file of a test names the rule.
func (c codeIndex) asserts(test, rule string) bool {
	return c.asserted[c.tests[testFunction(test)]][rule]
}

func readCode(t *testing.T) codeIndex {
	t.Helper()
	c := codeIndex{names: map[string]bool{}, tests: map[string]string{}, rules: map[string]string{}, asserted: map[string]map[string]bool{}}
	for _, f := range goFiles(t, 0) {
		for _, d := range f.syntax.Decls {
			c.declare(f, d)
		}
		if f.test {
			c.asserted[f.path] = namedRules(f.syntax)
		} else {
			c.collectRules(f)
		}
	}
	return c
}

// packageName is how the table calls a package: its directory, without
// "internal/" in front, and mls for the root.
func packageName(dir string) string {
	if dir == "." {
		return "mls"
	}
	return strings.TrimPrefix(dir, "internal/")
}

// declare takes the name of a declaration into the index.
func (c *codeIndex) declare(f goFile, d ast.Decl) {
	prefix := packageName(f.dir) + "."
	switch d := d.(type) {
	case *ast.FuncDecl:
		name := d.Name.Name
		if f.test {
			if d.Recv == nil && isTestName(name) {
				c.tests[prefix+name] = f.path
			}
			return
		}
		if d.Recv != nil {
			name = receiver(d.Recv.List[0].Type) + "." + name
		}
		c.names[prefix+name] = true
	case *ast.GenDecl:
		if f.test {
			return
		}
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				c.names[prefix+s.Name.Name] = true
			case *ast.ValueSpec:
				for _, n := range s.Names {
					c.names[prefix+n.Name] = true
				}
			}
		}
	}
}

func isTestName(name string) bool {
	return strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz") || strings.HasPrefix(name, "Example")
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// collectRules finds the rules by which a file refuses input. A section or a
// rule that is not a literal is a problem: it could not be searched for.
func (c *codeIndex) collectRules(f goFile) {
	if f.path == "errors.go" {
		return // the constructors themselves
	}
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		if section, rule, ok := ruleArguments(n, f.dir == "."); ok {
			at := f.path + ":" + strconv.Itoa(f.fset.Position(n.Pos()).Line)
			s, r := literal(section), literal(rule)
			if ruleForm.MatchString(s + "/" + r) {
				c.rules[s+"/"+r] = at
			} else {
				c.problems = append(c.problems, at+": the section and the rule must be literals of the form \"12.2\", \"kebab-case\"")
			}
		}
		return true
	})
}

// ruleArguments returns the section and the rule of a call of Invalid or
// InvalidAt, or of a RuleError literal that is written out.
func ruleArguments(n ast.Node, root bool) (section, rule ast.Expr, ok bool) {
	switch n := n.(type) {
	case *ast.CallExpr:
		skip, ok := map[string]int{"Invalid": 0, "InvalidAt": 1}[mlsName(n.Fun, root)]
		if ok && len(n.Args) >= skip+2 {
			return n.Args[skip], n.Args[skip+1], true
		}
	case *ast.CompositeLit:
		if mlsName(n.Type, root) != "RuleError" {
			return nil, nil, false
		}
		for _, e := range n.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok {
				switch key, _ := kv.Key.(*ast.Ident); {
				case key != nil && key.Name == "Section":
					section = kv.Value
				case key != nil && key.Name == "Rule":
					rule = kv.Value
				}
			}
		}
		return section, rule, section != nil || rule != nil
	}
	return nil, nil, false
}

// mlsName returns the name that e denotes if it is one of package mls.
func mlsName(e ast.Expr, root bool) string {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok && x.Name == "mls" {
			return e.Sel.Name
		}
	case *ast.Ident:
		if root {
			return e.Name
		}
	}
	return ""
}

// literal returns the value of a string literal, and "" for everything else.
func literal(e ast.Expr) string {
	if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
		if s, err := strconv.Unquote(l.Value); err == nil {
			return s
		}
	}
	return ""
}

// namedRules returns the rules that a test file names: as a literal
// "section/rule", or as two literals next to each other in a call or a composite.
func namedRules(f *ast.File) map[string]bool {
	rules := map[string]bool{}
	pairs := func(list []ast.Expr) {
		for i := range list {
			if i+1 < len(list) {
				if pair := literal(value(list[i])) + "/" + literal(value(list[i+1])); ruleForm.MatchString(pair) {
					rules[pair] = true
				}
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if s := literal(n); ruleForm.MatchString(s) {
				rules[s] = true
			}
		case *ast.CallExpr:
			pairs(n.Args)
		case *ast.CompositeLit:
			pairs(n.Elts)
		}
		return true
	})
	return rules
}

func value(e ast.Expr) ast.Expr {
	if kv, ok := e.(*ast.KeyValueExpr); ok {
		return kv.Value
	}
	return e
}

// TestCitations checks that every section of RFC 9420 that a comment or a
// document cites is a section that the RFC has.
func TestCitations(t *testing.T) {
	sections := readSections(t)
	cited := 0
	var wrong []string
	check := func(where, text string) {
		for _, c := range citations(text) {
			cited++
			if !sections[c] {
				wrong = append(wrong, where+": RFC 9420 has no Section "+c)
			}
		}
	}
	for _, f := range goFiles(t, parser.ParseComments) {
		for _, group := range f.syntax.Comments {
			check(f.path+":"+strconv.Itoa(f.fset.Position(group.Pos()).Line), group.Text())
		}
	}
	documents, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(documents, "README.md", "SECURITY.md") {
		data, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		check(name, string(data))
	}
	if len(wrong) > 0 {
		t.Errorf("%d citations of sections that don't exist:\n%s", len(wrong), strings.Join(wrong, "\n"))
	}
	if cited == 0 {
		t.Error("no citation found: the pattern or the code is broken")
	}
}

// citations returns the sections of RFC 9420 that a text cites.
func citations(text string) []string {
	var found []string
	text = strings.Join(strings.Fields(text), " ") // a citation may run over a line's end
	for _, m := range citationForm.FindAllStringSubmatch(text, -1) {
		found = append(found, numberForm.FindAllString(m[1], -1)...)
	}
	return found
}

// TestRequirementsRefuse shows that the checks above find what they are there to find.
func TestRequirementsRefuse(t *testing.T) {
	code := codeIndex{
		names:    map[string]bool{"group.Group.Process": true, "mls.ErrAuth": true},
		tests:    map[string]string{"group.TestRules": "group/rules_test.go"},
		rules:    map[string]string{"12.2/duplicate-psk": "group/list.go:1"},
		asserted: map[string]map[string]bool{"group/rules_test.go": {"12.2/duplicate-psk": true}},
	}
	sections := map[string]bool{"12.2": true, "6.1": true}
	for _, tt := range []struct{ row, want string }{
		{"| 12.2/psk | MUST | no PSK twice | `12.2/duplicate-psk` | `group.Group.Process` | `group.TestRules/12.2/duplicate-psk` |", ""},
		{"| 6.1/signature | MUST | verify | `ErrAuth` | `group.Group.Process` | `group.TestRules` |", ""},
		{"| 6.1/x | SHOULD | be kind | | application: manners | |", ""},
		{"| 6.1/x | SHOULD | be kind | | somebody: manners | |", "names no function"},
		{"| 9.9/x | MUST | a | | `group.Group.Process` | `group.TestRules` |", "section of the RFC"},
		{"| 6.1/x | MAY | a | | `group.Group.Process` | `group.TestRules` |", "level"},
		{"| 6.1/x | MUST | a | `12.2/other` | `group.Group.Process` | `group.TestRules` |", "no code refuses"},
		{"| 6.1/x | MUST | a | `12.2/other` | `group.Group.Process` | `group.TestRules` |", "asserts the rule"},
		{"| 6.1/x | MUST | a | `ErrOther` | `group.Group.Process` | `group.TestRules` |", "no mls.ErrOther"},
		{"| 6.1/x | MUST | a | | — | `group.TestRules` |", "no function enforces"},
		{"| 6.1/x | MUST | a | | `group.Gone` | `group.TestRules` |", "no group.Gone"},
		{"| 6.1/x | MUST | a | | `group.Group.Process` | — |", "no test shows"},
		{"| 6.1/x | MUST | a | | `group.Group.Process` | `group.TestGone` |", "no test group.TestGone"},
		{"| 6.1/x | MUST | a | | `group.Group.Process` |", "6 cells"},
		{"| 6.1/x | MUST | a | `nonsense` | `group.Group.Process` | `group.TestRules` |", "neither"},
	} {
		got := strings.Join(checkRow(parseRow(1, splitRow(tt.row)), code, sections), "; ")
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s\nproblems: %q, want %q among them", tt.row, got, tt.want)
		}
	}
}

// TestRulesFound shows that rules are found in code and in tests however they are written.
func TestRulesFound(t *testing.T) {
	const text = `package x
func f() {
	_ = mls.Invalid("7.3", "leaf-signature", "a")
	_ = mls.InvalidAt(c, "12.2", "duplicate-psk", "b")
	_ = &mls.RuleError{Section: "6.1", Rule: "sender-leaf"}
	_ = mls.Invalid(section, "leaf-signature", "c")
	_ = other.Invalid("1", "not-ours")
	_ = []string{"8.4/psk-nonce-length", "RFC 9420/x y"}
}`
	fset := token.NewFileSet()
	syntax, err := parser.ParseFile(fset, "x.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := codeIndex{rules: map[string]string{}}
	c.collectRules(goFile{path: "x.go", dir: "x", fset: fset, syntax: syntax})
	want := []string{"12.2/duplicate-psk", "6.1/sender-leaf", "7.3/leaf-signature"}
	if got := slices.Sorted(maps.Keys(c.rules)); !slices.Equal(got, want) {
		t.Errorf("rules of the code = %q, want %q", got, want)
	}
	if len(c.problems) != 1 || !strings.HasPrefix(c.problems[0], "x.go:6:") {
		t.Errorf("problems = %q, want one, on line 6", c.problems)
	}
	want = []string{"1/not-ours", "12.2/duplicate-psk", "6.1/sender-leaf", "7.3/leaf-signature", "8.4/psk-nonce-length"}
	if got := slices.Sorted(maps.Keys(namedRules(syntax))); !slices.Equal(got, want) {
		t.Errorf("rules named by a test = %q, want %q", got, want)
	}
	cited := citations("see RFC 9420,\nSection 12.4.2, and RFC 9420, Sections 7.3, 8 and 9.1; RFC 9420, Appendix C; RFC 9180, Section 4.1.")
	if want := []string{"12.4.2", "7.3", "8", "9.1", "C"}; !slices.Equal(cited, want) {
		t.Errorf("citations = %q, want %q", cited, want)
	}
}
