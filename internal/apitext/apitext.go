// Package apitext lists the exported API of a Go package as text, one line per
// exported name, so that a change of the API shows up as a change of a file.
//
// It reads source only: signatures come from the syntax tree, and the values of
// constants from a type check in which packages outside the module are empty.
// No tool is run, so a test that calls it depends on nothing but the files.
package apitext

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A Module is the source tree of one Go module.
//
// A Module is not safe for concurrent use.
type Module struct {
	root   string // directory of go.mod
	path   string // module path
	fset   *token.FileSet
	loaded map[string]*source
}

// source is one parsed package: its files and what the type check found out.
type source struct {
	files []*ast.File
	pkg   *types.Package
	info  *types.Info
}

// NewModule returns the module with the given path whose go.mod lies in root.
func NewModule(root, modulePath string) *Module {
	return &Module{root: root, path: modulePath, fset: token.NewFileSet(), loaded: map[string]*source{}}
}

// Public returns the import paths of the packages that others can import,
// sorted: no main package, none below a directory named internal or testdata.
func (m *Module) Public() ([]string, error) {
	var paths []string
	err := filepath.WalkDir(m.root, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if p != m.root && skipDir(d.Name()) {
			return filepath.SkipDir
		}
		files, err := m.parse(p)
		if err != nil {
			return err
		}
		if len(files) > 0 && files[0].Name.Name != "main" {
			rel, err := filepath.Rel(m.root, p)
			if err != nil {
				return err
			}
			paths = append(paths, path.Join(m.path, filepath.ToSlash(rel)))
		}
		return nil
	})
	slices.Sort(paths)
	return paths, err
}

func skipDir(name string) bool {
	return name == "internal" || name == "testdata" || name == "vendor" ||
		strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")
}

// List returns the exported API of the package with the given import path,
// sorted, one line per const, var, func, method, type and field. Every line
// starts with "pkg NAME, ", NAME being the path within the module, and the
// package's own name for the package at the root.
func (m *Module) List(importPath string) ([]string, error) {
	src, err := m.load(importPath)
	if err != nil {
		return nil, err
	}
	if len(src.files) == 0 {
		return nil, fmt.Errorf("apitext: no Go files in %s", importPath)
	}
	name := strings.TrimPrefix(strings.TrimPrefix(importPath, m.path), "/")
	if name == "" {
		name = src.files[0].Name.Name
	}
	l := lister{src: src, prefix: "pkg " + name + ", "}
	for _, f := range src.files {
		for _, d := range f.Decls {
			l.decl(d)
		}
	}
	slices.Sort(l.lines)
	return slices.Compact(l.lines), nil
}

// parse returns the syntax of the package in dir as it is built on this
// platform, tests left out.
func (m *Module) parse(dir string) ([]*ast.File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		if ok, err := build.Default.MatchFile(dir, name); err != nil || !ok {
			continue
		}
		f, err := parser.ParseFile(m.fset, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("apitext: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

// load parses and type-checks the package, once.
func (m *Module) load(importPath string) (*source, error) {
	if src, ok := m.loaded[importPath]; ok {
		return src, nil
	}
	rel := strings.TrimPrefix(strings.TrimPrefix(importPath, m.path), "/")
	files, err := m.parse(filepath.Join(m.root, filepath.FromSlash(rel)))
	if err != nil {
		return nil, err
	}
	src := &source{files: files, info: &types.Info{Defs: map[*ast.Ident]types.Object{}}}
	m.loaded[importPath] = src // before the check, so that a cycle ends
	cfg := types.Config{
		Importer:         importer{m},
		IgnoreFuncBodies: true,
		// Names of packages outside the module don't resolve. That loses no
		// value of a constant, which is all that is asked of this check.
		Error: func(error) {},
	}
	src.pkg, _ = cfg.Check(importPath, m.fset, files, src.info)
	return src, nil
}

// importer resolves packages of the module from source and makes every other
// package an empty one.
type importer struct{ m *Module }

func (i importer) Import(importPath string) (*types.Package, error) {
	if importPath == i.m.path || strings.HasPrefix(importPath, i.m.path+"/") {
		src, err := i.m.load(importPath)
		if err != nil {
			return nil, err
		}
		if src.pkg != nil {
			return src.pkg, nil
		}
	}
	p := types.NewPackage(importPath, path.Base(importPath))
	p.MarkComplete()
	return p, nil
}

// lister collects the lines of one package.
type lister struct {
	src    *source
	prefix string
	lines  []string
}

func (l *lister) add(format string, args ...any) {
	l.lines = append(l.lines, l.prefix+fmt.Sprintf(format, args...))
}

func (l *lister) decl(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		l.function(d)
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				l.typeSpec(s)
			case *ast.ValueSpec:
				l.values(d.Tok, s)
			}
		}
	}
}

func (l *lister) function(d *ast.FuncDecl) {
	if !d.Name.IsExported() {
		return
	}
	sig := strings.TrimPrefix(types.ExprString(d.Type), "func")
	if d.Recv == nil {
		l.add("func %s%s%s", d.Name.Name, typeParams(d.Type.TypeParams), sig)
		return
	}
	recv := d.Recv.List[0].Type
	if ast.IsExported(baseName(recv)) {
		l.add("method (%s) %s%s", types.ExprString(recv), d.Name.Name, sig)
	}
}

// baseName returns the name of the type that a receiver expression declares a
// method of.
func baseName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return baseName(e.X)
	case *ast.IndexExpr:
		return baseName(e.X)
	case *ast.IndexListExpr:
		return baseName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func typeParams(fields *ast.FieldList) string {
	if fields == nil {
		return ""
	}
	var params []string
	for _, f := range fields.List {
		for _, n := range f.Names {
			params = append(params, n.Name+" "+types.ExprString(f.Type))
		}
	}
	return "[" + strings.Join(params, ", ") + "]"
}

func (l *lister) typeSpec(s *ast.TypeSpec) {
	if !s.Name.IsExported() {
		return
	}
	name := s.Name.Name + typeParams(s.TypeParams)
	if s.Assign.IsValid() {
		l.add("type %s = %s", name, types.ExprString(s.Type))
		return
	}
	switch t := s.Type.(type) {
	case *ast.StructType:
		l.add("type %s struct", name)
		for _, f := range t.Fields.List {
			l.field(name, f)
		}
	case *ast.InterfaceType:
		l.add("type %s interface { %s }", name, methods(t))
	default:
		l.add("type %s %s", name, types.ExprString(s.Type))
	}
}

func (l *lister) field(typeName string, f *ast.Field) {
	if len(f.Names) == 0 && ast.IsExported(baseName(f.Type)) {
		l.add("type %s struct, embedded %s", typeName, types.ExprString(f.Type))
	}
	for _, n := range f.Names {
		if n.IsExported() {
			l.add("type %s struct, %s %s", typeName, n.Name, types.ExprString(f.Type))
		}
	}
}

// methods returns the exported methods of an interface, sorted. An unexported
// method is part of the API in that it closes the set of implementations.
func methods(t *ast.InterfaceType) string {
	var list []string
	for _, f := range t.Methods.List {
		if len(f.Names) == 0 {
			list = append(list, types.ExprString(f.Type))
		}
		for _, n := range f.Names {
			if n.IsExported() {
				list = append(list, n.Name+strings.TrimPrefix(types.ExprString(f.Type), "func"))
			} else {
				list = append(list, "unexported methods")
			}
		}
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), "; ")
}

func (l *lister) values(tok token.Token, s *ast.ValueSpec) {
	for _, n := range s.Names {
		if !n.IsExported() {
			continue
		}
		line := tok.String() + " " + n.Name
		if s.Type != nil {
			line += " " + types.ExprString(s.Type)
		}
		if c, ok := l.src.info.Defs[n].(*types.Const); ok {
			line = "const " + n.Name + l.constant(c)
		}
		l.add("%s", line)
	}
}

// constant returns the type, if it has a named one, and the value of c.
func (l *lister) constant(c *types.Const) string {
	var s string
	if b, ok := c.Type().(*types.Basic); !ok || b.Info()&types.IsUntyped == 0 && b.Kind() != types.Invalid {
		s = " " + types.TypeString(c.Type(), func(p *types.Package) string {
			if p == l.src.pkg {
				return ""
			}
			return p.Name()
		})
	}
	if c.Val().Kind() != constant.Unknown {
		s += " = " + c.Val().ExactString()
	}
	return s
}
