package protocols

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/treekem/mls"
)

// relay is design 1: the server passes on what it reads. Packets are HTTP
// requests; whoever writes a request says who it is from. With TLS the requests
// go through a connection between each device and the server, by crypto/tls,
// and the server re-encrypts them for each recipient.
//
// Simplified: a login is a name; the response to a request is left out.
type relay struct {
	base
	tls  *tlsServer // nil without TLS
	conn *tls.Conn
	link *tlsLink
}

func relayDesign() Design {
	return Design{
		Number: 1, Name: "plain", Title: "Server relay in plaintext (HTTP)",
		Simplified: "a login is a name without a password; responses are left out",
		New: func(env *Env, id ID) (Device, error) {
			return &relay{base: base{id: id, env: env}}, nil
		},
	}
}

func tlsDesign() Design {
	return Design{
		Number: 1, Name: "tls", Title: "Server relay over TLS to the server",
		Simplified: "the server knows each device by its connection instead of a password; responses are left out",
		NewServer:  newTLSServer,
		New: func(env *Env, id ID) (Device, error) {
			server, ok := env.Server.(*tlsServer)
			if !ok {
				return nil, errors.New("protocols: TLS needs its server")
			}
			return &relay{base: base{id: id, env: env}, tls: server}, nil
		},
	}
}

// Fingerprint implements Device: users have no keys.
func (*relay) Fingerprint(ID) []byte { return nil }

// StateSize implements Device. A connection is not kept by a device that is
// switched off.
func (d *relay) StateSize() int { return 4 * len(d.members) }

// Seize implements Device: the device holds no key. Requests in plaintext need
// none; what other devices sent over TLS only the server has.
func (*relay) Seize() (Adversary, error) { return relayAdversary{}, nil }

// relayAdversary reads requests.
type relayAdversary struct{}

func (relayAdversary) Try(p Packet) [][]byte {
	if _, _, body, err := parseRequest(p.Body); err == nil && p.Kind == Message {
		return [][]byte{body}
	}
	return nil
}

func (d *relay) request(as ID, op string, to []ID, body []byte) ([]Packet, error) {
	r, err := http.NewRequest(http.MethodPost, "http://chat.example/groups/1/"+op, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "chat")
	r.Header.Set("X-User", fmt.Sprint(int(as)))
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		return nil, err
	}
	kind := Handshake
	if op == "messages" {
		kind = Message
	}
	out := b.Bytes()
	if d.tls != nil {
		if err := d.connect(); err != nil {
			return nil, err
		}
		d.meter.Symmetric++
		if err := writeFrame(d.conn, out); err != nil {
			return nil, err
		}
		out = d.link.toServer.take()
	}
	return []Packet{{d.id, to, kind, out}}, nil
}

func (d *relay) Create(members []ID) ([]Packet, error) {
	d.setMembers(members)
	return d.request(d.id, "members", d.others(), pack([]byte("set"), idList(d.members)))
}

func (d *relay) Add(who ID) ([]Packet, error) { return d.change(d.with(who), nil) }

func (d *relay) Remove(who ID) ([]Packet, error) { return d.change(d.without(who), nil) }

func (d *relay) change(members, more []ID) ([]Packet, error) {
	d.setMembers(members)
	return d.request(d.id, "members", append(d.others(), more...), pack([]byte("set"), idList(d.members)))
}

func (d *relay) Send(text []byte) ([]Packet, error) {
	return d.request(d.id, "messages", d.others(), text)
}

func (d *relay) Forge(as ID, text []byte) ([]Packet, error) {
	return d.request(as, "messages", d.others(), text)
}

func (d *relay) Receive(p Packet) (Event, error) {
	body := p.Body
	if d.tls != nil {
		if d.link == nil {
			return Event{}, ErrNoKey
		}
		d.link.toClient.put(body)
		var err error
		if body, err = readFrame(d.conn, len(body)); err != nil {
			return Event{}, err
		}
		d.meter.Symmetric++
	}
	from, op, content, err := parseRequest(body)
	if err != nil {
		return Event{}, err
	}
	if op == "messages" {
		return Event{Text: content, From: from}, nil
	}
	f, err := unpack(content, 2)
	if err != nil {
		return Event{}, err
	}
	d.setMembers(toIDs(f[1]))
	return Event{}, nil
}

func parseRequest(p []byte) (from ID, op string, body []byte, err error) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(p)))
	if err != nil {
		return 0, "", nil, ErrRefused
	}
	if body, err = io.ReadAll(r.Body); err != nil {
		return 0, "", nil, ErrRefused
	}
	if _, err := fmt.Sscan(r.Header.Get("X-User"), &from); err != nil {
		return 0, "", nil, ErrRefused
	}
	return from, r.URL.Path[len("/groups/1/"):], body, nil
}

// tlsServer ends the TLS connections of all devices.
type tlsServer struct {
	config *tls.Config
	roots  *x509.CertPool
	mu     sync.Mutex
	conns  map[ID]*serverConn
}

type serverConn struct {
	conn *tls.Conn
	link *tlsLink
}

func newTLSServer(*mls.Suite) (Server, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "chat.example"}, DNSNames: []string{"chat.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	s := &tlsServer{roots: x509.NewCertPool(), conns: map[ID]*serverConn{}}
	s.roots.AddCert(cert)
	s.config = &tls.Config{
		Certificates:           []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
	}
	return s, nil
}

// connect opens the device's connection at its first use.
func (d *relay) connect() error {
	if d.conn != nil {
		return nil
	}
	d.link = &tlsLink{newPipe(), newPipe()}
	d.conn = tls.Client(d.link.client(), &tls.Config{RootCAs: d.tls.roots, ServerName: "chat.example", MinVersion: tls.VersionTLS13})
	server := tls.Server(d.link.server(), d.tls.config)
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := d.conn.Handshake(); err != nil {
		return err
	}
	if err := <-done; err != nil {
		return err
	}
	d.link.toServer.settle()
	d.link.toClient.settle()
	d.meter.PublicKey += 3 // a key share, its use, the server's signature
	d.meter.Fetched += d.link.toClient.total
	d.tls.mu.Lock()
	defer d.tls.mu.Unlock()
	d.tls.conns[d.id] = &serverConn{server, d.link}
	return nil
}

// Online implements the caller's wish that a device can be written to.
func (d *relay) Online() error {
	if d.tls == nil {
		return nil
	}
	return d.connect()
}

// writeFrame writes a request with its length before it: TLS may cut it up.
func writeFrame(c *tls.Conn, request []byte) error {
	_, err := c.Write(append(num(len(request)), request...))
	return err
}

// readFrame reads a request, of less than limit bytes.
func readFrame(c *tls.Conn, limit int) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(c, length[:]); err != nil || toNum(length[:]) > limit {
		return nil, ErrRefused
	}
	request := make([]byte, toNum(length[:]))
	if _, err := io.ReadFull(c, request); err != nil {
		return nil, ErrRefused
	}
	return request, nil
}

// Accept implements Server: it decrypts the request and checks that it is from
// whose connection this is.
func (s *tlsServer) Accept(p Packet) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conns[p.From]
	if c == nil {
		return nil, ErrRefused
	}
	c.link.toServer.put(p.Body)
	request, err := readFrame(c.conn, len(p.Body))
	if err != nil {
		return nil, err
	}
	if from, _, _, err := parseRequest(request); err != nil || from != p.From {
		return nil, ErrRefused
	}
	return request, nil
}

// Forward implements Server: it encrypts the request for a recipient.
func (s *tlsServer) Forward(held []byte, p Packet, to ID) (Packet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conns[to]
	if c == nil {
		return Packet{}, ErrNoKey
	}
	if err := writeFrame(c.conn, held); err != nil {
		return Packet{}, err
	}
	return Packet{p.From, []ID{to}, p.Kind, c.link.toClient.take()}, nil
}

// tlsLink is the wire between a device and the server. What is written after the
// handshake waits there until the caller has taken it and put it in on the
// other side.
type tlsLink struct{ toServer, toClient *pipe }

func (l *tlsLink) client() net.Conn { return &pipeConn{l.toClient, l.toServer} }
func (l *tlsLink) server() net.Conn { return &pipeConn{l.toServer, l.toClient} }

// pipe holds bytes in one direction.
type pipe struct {
	mu    sync.Mutex
	cond  *sync.Cond
	buf   []byte
	total int
	ended bool // the handshake is over: nobody writes while somebody waits
}

func newPipe() *pipe {
	p := new(pipe)
	p.cond = sync.NewCond(&p.mu)
	return p
}

func (p *pipe) put(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.buf = append(p.buf, b...)
	p.total += len(b)
	p.cond.Broadcast()
}

func (p *pipe) take() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.buf
	p.buf = nil
	return out
}

func (p *pipe) settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
}

// read waits for bytes during the handshake; later there are some or it fails.
func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.buf) == 0 {
		if p.ended {
			return 0, io.ErrUnexpectedEOF
		}
		p.cond.Wait()
	}
	n := copy(b, p.buf)
	p.buf = p.buf[n:]
	return n, nil
}

type pipeConn struct{ in, out *pipe }

func (c *pipeConn) Read(b []byte) (int, error)       { return c.in.read(b) }
func (c *pipeConn) Write(b []byte) (int, error)      { c.out.put(b); return len(b), nil }
func (*pipeConn) Close() error                       { return nil }
func (*pipeConn) LocalAddr() net.Addr                { return nil }
func (*pipeConn) RemoteAddr() net.Addr               { return nil }
func (*pipeConn) SetDeadline(time.Time) error        { return nil }
func (*pipeConn) SetReadDeadline(t time.Time) error  { return nil }
func (*pipeConn) SetWriteDeadline(t time.Time) error { return nil }
