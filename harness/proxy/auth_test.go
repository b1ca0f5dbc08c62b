package proxy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/proxy"
	"github.com/interlock-pg/interlock/harness/server"
	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/harness/wire"
)

// parse reads a connection string whose parts may be overridden.
func parse(t *testing.T, url string, change ...func(*pgx.ConnConfig)) *pgx.ConnConfig {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	for _, f := range change {
		f(config)
	}
	return config
}

// connect connects, asks who it is, and leaves.
func connect(t *testing.T, config *pgx.ConnConfig) (user, database string, err error) {
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		return "", "", err
	}
	defer conn.Close(context.Background())
	require.NoError(t, conn.QueryRow(t.Context(), `select current_user, current_database()`).Scan(&user, &database))
	return user, database, nil
}

var gates = []wire.Config{{}, {Split: true, Hold: func(wire.Step) bool { return false }}}

// TestPassedPasswords: the server asks the client for its password through the proxy, by every method, and judges it.
func TestPassedPasswords(t *testing.T) {
	srv := servertest.Passwords(t, nil)
	for _, gate := range gates {
		b := newBench(t, srv.Config("", "proxy"), gate, "tcp", proxy.Config{})
		for _, method := range []string{"scram-sha-256", "md5", "password"} {
			config := parse(t, b.URL(), func(c *pgx.ConnConfig) { c.User, c.Password, c.RequireAuth = method, "secret "+method, method })
			user, _, err := connect(t, config)
			require.NoError(t, err)
			require.Equal(t, method, user)
			config.Password = "wrong"
			_, _, err = connect(t, config)
			require.Contains(t, told(err), fmt.Sprintf(`password authentication failed for user "%s"`, method))
			require.Contains(t, told(err), "28P01")
			b.refused("password authentication failed")
		}
		config := parse(t, b.URL(), func(c *pgx.ConnConfig) { c.Database = "nowhere" })
		_, _, err := connect(t, config)
		direct := srv.Config("nowhere", "direct")
		_, _, err2 := connect(t, direct)
		require.Equal(t, told(err2), told(err))
		b.refused(`database "nowhere" does not exist (3D000); try`)
	}
}

// TestOwnPasswords: the proxy asks clients for a password of its own, and has another for the server.
func TestOwnPasswords(t *testing.T) {
	srv := servertest.Passwords(t, nil)
	for _, gate := range gates {
		for method, asked := range map[string]string{"scram-sha-256": "password", "md5": "scram-sha-256", "password": "scram-sha-256"} {
			upstream := srv.Config("", "proxy")
			upstream.User, upstream.Password, upstream.RequireAuth = method, "secret "+method, method
			auth := proxy.SCRAM
			if asked == "password" {
				auth = proxy.Password
			}
			b := newBench(t, upstream, gate, "tcp", proxy.Config{Auth: auth, User: "app", Password: "pä ✓", Database: "template1"})
			config := parse(t, b.URL(), func(c *pgx.ConnConfig) { c.RequireAuth, c.Database = asked, "another" })
			user, database, err := connect(t, config)
			require.NoError(t, err)
			require.Equal(t, method, user)
			require.Equal(t, "template1", database)
			for range 2 {
				config.Password += "?"
				_, _, err = connect(t, config)
				require.Contains(t, told(err), "28P01")
				b.refused(`password authentication failed for user "app"; this is Interlock's proxy: try`)
				config = parse(t, b.URL(), func(c *pgx.ConnConfig) { c.User = "app" })
			}
			config.User = "somebody"
			_, _, err = connect(t, config)
			require.Contains(t, told(err), "28P01")
			b.refused(`"somebody"`)
		}
	}
	// What the server refuses the proxy is what the client is told.
	upstream := srv.Config("nowhere", "proxy")
	b := newBench(t, srv.Config("", "control"), wire.Config{}, "tcp", proxy.Config{Auth: proxy.Trust, Database: "nowhere"})
	_, _, err := connect(t, parse(t, b.URL()))
	_, _, direct := connect(t, upstream)
	require.Equal(t, told(direct), told(err))
	b.refused("3D000")
	b = newBench(t, srv.Config("", "control"), wire.Config{}, "tcp", proxy.Config{Auth: proxy.Trust, User: "app"})
	_, _, err = connect(t, parse(t, b.URL(), func(c *pgx.ConnConfig) { c.User = "somebody" }))
	require.Contains(t, told(err), `user "somebody" may not connect`)
	b.refused("somebody")
}

// TestElsewhere: with the client's own credentials, a client on another machine is not let in as the machine that the proxy is on.
func TestElsewhere(t *testing.T) {
	away := notLoopback(t)
	srv := servertest.Passwords(t, nil)
	for _, gate := range gates {
		for _, auth := range []proxy.Auth{proxy.Pass, proxy.SCRAM} {
			config := proxy.Config{Auth: auth}
			if auth == proxy.SCRAM {
				config.Password = "own"
			}
			b := newBench(t, srv.Config("", "proxy"), gate, "tcp", config, "0.0.0.0:0")
			_, _, err := connect(t, parse(t, b.URL()))
			require.NoError(t, err, "on this machine")
			elsewhere := parse(t, b.URL(), func(c *pgx.ConnConfig) { c.Host = away })
			_, _, err = connect(t, elsewhere)
			if auth == proxy.SCRAM {
				require.NoError(t, err)
				continue
			}
			require.Contains(t, told(err), "28000")
			require.Contains(t, told(err), "everybody who reaches the proxy would be let in")
			b.refused("try --auth scram at the proxy")
			for _, method := range []string{"scram-sha-256", "md5", "password"} {
				elsewhere.User, elsewhere.Password = method, "secret "+method
				_, _, err = connect(t, elsewhere)
				require.NoError(t, err, method)
			}
		}
	}
}

// notLoopback returns an address of this machine at which its connections look like another's.
func notLoopback(t *testing.T) string {
	all, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no address but loopback ones; try one with a network")
	return ""
}

// TestInClear: a proxy with TLS takes no password that is neither hashed nor encrypted.
func TestInClear(t *testing.T) {
	certificate, err := proxy.SelfSigned("127.0.0.1")
	require.NoError(t, err)
	b := newBench(t, servertest.Database(t, "").Config("proxy"), wire.Config{}, "tcp", proxy.Config{Auth: proxy.Password, Password: "own", TLS: certificate})
	_, _, err = connect(t, parse(t, strings.Replace(b.URL(), "sslmode=require", "sslmode=disable", 1)))
	require.Contains(t, told(err), "28000")
	b.refused("try sslmode=require")
	_, _, err = connect(t, parse(t, b.URL()))
	require.NoError(t, err)
}

// TestTickets: an authentication whose last word is the server's, as by GSSAPI, is passed on to its end at an encrypted connection too. The server is
// played: it would need a realm.
func TestTickets(t *testing.T) {
	certificate, err := proxy.SelfSigned("127.0.0.1")
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	served := do(func() error {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := io.ReadFull(conn, make([]byte, 8)); err != nil { // whether TLS is taken
			return err
		}
		if _, err := conn.Write([]byte{'S'}); err != nil {
			return err
		}
		inside := tls.Server(conn, certificate)
		server := pgproto3.NewBackend(inside, inside)
		if _, err := server.ReceiveStartupMessage(); err != nil {
			return err
		}
		if err := server.SetAuthType(pgproto3.AuthTypeGSS); err != nil {
			return err
		}
		server.Send(&pgproto3.AuthenticationGSS{})
		for _, token := range []string{"first", "second"} {
			if err := server.Flush(); err != nil {
				return err
			}
			m, err := server.Receive()
			if err != nil {
				return err
			}
			if got, ok := m.(*pgproto3.GSSResponse); !ok || string(got.Data) != token {
				return fmt.Errorf("%#v instead of the %s token", m, token)
			}
			server.Send(&pgproto3.AuthenticationGSSContinue{Data: []byte(token)})
		}
		server.Send(&pgproto3.AuthenticationOk{})
		server.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte("four")})
		server.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		if err := server.Flush(); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, inside)
		return err
	})
	port := listener.Addr().(*net.TCPAddr).Port
	config := parse(t, fmt.Sprintf("postgres://u@127.0.0.1:%d/d?sslmode=require", port))
	p, err := proxy.Listen(t.Context(), "tcp", "127.0.0.1:0", proxy.Config{Server: &config.Config, Gate: wire.New(wire.Config{})})
	require.NoError(t, err)
	conn, err := net.Dial("tcp", p.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	client := pgproto3.NewFrontend(conn, conn)
	client.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "u"}})
	receive := func() pgproto3.BackendMessage {
		require.NoError(t, client.Flush())
		m, err := client.Receive()
		require.NoError(t, err)
		return m
	}
	require.IsType(t, &pgproto3.AuthenticationGSS{}, receive())
	for _, token := range []string{"first", "second"} {
		client.Send(&pgproto3.GSSResponse{Data: []byte(token)})
		require.Equal(t, &pgproto3.AuthenticationGSSContinue{Data: []byte(token)}, receive())
	}
	require.IsType(t, &pgproto3.AuthenticationOk{}, receive())
	require.IsType(t, &pgproto3.BackendKeyData{}, receive())
	require.IsType(t, &pgproto3.ReadyForQuery{}, receive())
	require.NoError(t, conn.Close())
	require.NoError(t, <-served)
	require.NoError(t, p.Close())
}

// encrypted starts a server that takes TLS on an address of its own, and returns how to connect there. It has the roles of [servertest.Passwords].
func encrypted(t *testing.T) (*server.Server, *pgx.ConnConfig) {
	t.Helper()
	address := servertest.Loopback(t)
	srv := servertest.Passwords(t, map[string]string{"listen_addresses": address})
	made, err := proxy.SelfSigned(address)
	require.NoError(t, err)
	key, err := x509.MarshalPKCS8PrivateKey(made.Certificates[0].PrivateKey)
	require.NoError(t, err)
	info, err := os.Stat(srv.Where)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{
		"key": {Type: "PRIVATE KEY", Bytes: key}, "certificate": {Type: "CERTIFICATE", Bytes: made.Certificates[0].Certificate[0]},
	} {
		file := filepath.Join(srv.Where, name)
		require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
		if owner := info.Sys().(*syscall.Stat_t); os.Geteuid() == 0 {
			require.NoError(t, os.Chown(file, int(owner.Uid), int(owner.Gid)))
		}
	}
	control, err := pgx.ConnectConfig(t.Context(), srv.Config("", "control"))
	require.NoError(t, err)
	defer control.Close(context.Background())
	library := ""
	require.NoError(t, control.QueryRow(t.Context(), `show ssl_library`).Scan(&library))
	if library == "" {
		t.Skip("this server was built without TLS; try an installed one")
	}
	for _, sql := range []string{
		`alter system set ssl_cert_file = '` + srv.Where + `/certificate'`, `alter system set ssl_key_file = '` + srv.Where + `/key'`,
		`alter system set ssl = on`, `select pg_reload_conf()`,
	} {
		_, err := control.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	config := srv.Config("", "proxy")
	config.Host, config.Port = address, 5432
	root := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(made.Certificates[0].Certificate[0])
	require.NoError(t, err)
	root.AddCert(parsed)
	config.TLSConfig = &tls.Config{RootCAs: root, ServerName: address}
	for on := ""; on != "on"; { // once the server has read them
		require.NoError(t, control.QueryRow(t.Context(), `show ssl`).Scan(&on))
	}
	return srv, config
}

// TestTLS: either leg can be encrypted.
func TestTLS(t *testing.T) {
	srv, upstream := encrypted(t)
	certificate, err := proxy.SelfSigned("127.0.0.1", "localhost")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "root.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificates[0].Certificate[0]}), 0o600))
	for _, gate := range gates {
		if gate.Split && !servertest.Thorough() {
			continue
		}
		for _, auth := range []proxy.Auth{proxy.Pass, proxy.SCRAM} {
			for _, offered := range []*tls.Config{nil, certificate} {
				for _, server := range []*pgx.ConnConfig{srv.Config("", "proxy"), upstream} {
					config := proxy.Config{Auth: auth, TLS: offered}
					server = server.Copy()
					server.User, server.Password = "scram-sha-256", "secret scram-sha-256"
					if auth == proxy.SCRAM {
						config.Password = "own"
					}
					name := fmt.Sprintf("split %v, %s, TLS from the client %v, TLS to the server %v", gate.Split, auth, offered != nil, server.TLSConfig != nil)
					t.Run(name, func(t *testing.T) {
						if gate.Split && (offered == nil || server.TLSConfig == nil) {
							servertest.Slow(t)
						}
						b := newBench(t, server, gate, "tcp", config)
						verified := "sslmode=verify-full&sslrootcert=" + file
						modes := []string{"sslmode=disable", "sslmode=prefer"}
						if offered != nil {
							modes = append(modes, "sslmode=require", verified, verified+"&sslnegotiation=direct")
						}
						for _, mode := range modes {
							url := strings.NewReplacer("sslmode=disable", mode, "sslmode=require", mode).Replace(b.URL())
							cannot := auth == proxy.Pass && offered != nil && server.TLSConfig != nil && mode != "sslmode=disable" // see the package comment
							tries := cannot && mode == "sslmode=prefer"                                                            // again, without TLS, as libpq does
							conn, err := pgx.Connect(t.Context(), url)
							if cannot && !tries {
								require.Contains(t, told(err), "could bind the password to their connections")
								b.refused("try channel_binding=disable in the client's connection string, or --auth scram at the proxy")
								conn, err = pgx.Connect(t.Context(), url+"&channel_binding=disable")
							}
							require.NoError(t, err, mode)
							var encrypted bool
							require.NoError(t, conn.QueryRow(t.Context(), `select ssl from pg_stat_ssl where pid = pg_backend_pid()`).Scan(&encrypted))
							require.Equal(t, server.TLSConfig != nil, encrypted)
							_, inside := conn.PgConn().Conn().(*tls.Conn)
							require.Equal(t, offered != nil && mode != "sslmode=disable" && !tries, inside, mode)
							require.NoError(t, conn.PgConn().CancelRequest(t.Context()), "encrypted like the connection")
							require.NoError(t, conn.Close(t.Context()))
							psqlSays(t, cannot && !tries, url, "scram-sha-256")
							// A later protocol is declined before the password is asked for.
							_, _, err = connect(t, parse(t, url, func(c *pgx.ConnConfig) { c.MaxProtocolVersion = "3.2" }))
							if cannot && !tries {
								require.Contains(t, told(err), "could bind the password to their connections")
							} else {
								require.NoError(t, err)
							}
						}
						if offered == nil {
							_, _, err := connect(t, parse(t, strings.Replace(b.URL(), "sslmode=disable", "sslmode=require", 1)))
							require.ErrorContains(t, err, "server refused TLS connection")
						} else {
							other, err := proxy.SelfSigned("127.0.0.1")
							require.NoError(t, err)
							pem := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificates[0].Certificate[0]})
							wrong := filepath.Join(t.TempDir(), "root.pem")
							require.NoError(t, os.WriteFile(wrong, pem, 0o600))
							_, _, err = connect(t, parse(t, strings.Replace(b.URL(), "sslmode=require", "sslmode=verify-full&sslrootcert="+wrong, 1)))
							require.ErrorContains(t, err, "certificate")
							b.refused("TLS: ")
						}
					})
				}
			}
		}
	}
	// A server that is not who it should be is not talked to.
	upstream = upstream.Copy()
	upstream.TLSConfig = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: upstream.Host}
	for _, auth := range []proxy.Auth{proxy.Pass, proxy.Trust} {
		p, err := proxy.Listen(t.Context(), "tcp", "127.0.0.1:0", proxy.Config{Server: &upstream.Config, Gate: wire.New(wire.Config{}), Auth: auth})
		require.NoError(t, err)
		_, _, err = connect(t, parse(t, p.URL()))
		require.Contains(t, told(err), "08001")
		require.Contains(t, told(err), "certificate")
		require.NoError(t, p.Close())
	}
}

// psqlSays asks psql, which is libpq, who it is.
func psqlSays(t *testing.T, cannot bool, url, user string) {
	if _, err := exec.LookPath("psql"); err != nil || strings.Contains(url, "sslnegotiation") { // which libpq has had since 17
		return
	}
	ask := func(url string) string {
		out, _ := exec.CommandContext(t.Context(), "psql", "-X", "-At", "-d", url, "-c", "select current_user").CombinedOutput()
		return string(out)
	}
	if cannot {
		require.Contains(t, ask(url), "HINT:  try channel_binding=disable in the client's connection string, or --auth scram at the proxy")
		url += "&channel_binding=disable"
	}
	require.Equal(t, user+"\n", ask(url))
}

// TestParameters: what is set on every session is stronger than what clients ask for, and their options are kept.
func TestParameters(t *testing.T) {
	db := servertest.Database(t, "")
	for _, auth := range []proxy.Auth{proxy.Pass, proxy.Trust} {
		server := db.Config("proxy")
		server.RuntimeParams["options"] = "-c geqo=off"
		var heard []proxy.Hello
		b := newBench(t, server, wire.Config{}, "tcp", proxy.Config{
			Auth: auth, Parameters: map[string]string{"log_lock_waits": "on", "lock_timeout": "2s", "options": "-c deadlock_timeout=7ms"},
			Name: func(h proxy.Hello) string {
				heard = append(heard, h)
				return "session " + h.Parameters["application_name"]
			},
		})
		conn, err := pgx.ConnectConfig(t.Context(), parse(t, b.URL(), func(c *pgx.ConnConfig) {
			c.RuntimeParams = map[string]string{"application_name": "app", "lock_timeout": "1s", "options": "-c enable_sort=off -c deadlock_timeout=8ms"}
		}))
		require.NoError(t, err)
		require.Equal(t, "session app", b.session().Name())
		show := func(name string) (value string) {
			require.NoError(t, conn.QueryRow(t.Context(), `show `+name).Scan(&value))
			return value
		}
		got := []string{show("application_name"), show("log_lock_waits"), show("lock_timeout"), show("enable_sort"), show("deadlock_timeout"), show("geqo")}
		require.Equal(t, []string{"app", "on", "2s", "off", "7ms", map[proxy.Auth]string{proxy.Pass: "on", proxy.Trust: "off"}[auth]}, got)
		require.NoError(t, conn.Close(t.Context()))
		require.Len(t, heard, 1)
		require.Equal(t, db.Name, heard[0].Database)
		require.Equal(t, "1s", heard[0].Parameters["lock_timeout"])
		require.False(t, heard[0].Encrypted)
	}
}

// TestMistakes: a configuration that cannot work is refused, with all that is wrong with it.
func TestMistakes(t *testing.T) {
	server := &servertest.Server(t).Config("", "proxy").Config
	gate := wire.New(wire.Config{})
	for _, c := range []struct {
		network, address string
		config           proxy.Config
		want             []string
	}{
		{"udp", "127.0.0.1:0", proxy.Config{Auth: "ident"}, []string{
			"no server; try", "no gate; try", `"ident" is no way to authenticate; try`, `"udp" is no network; try`,
		}},
		{"tcp", "127.0.0.1:0", proxy.Config{Server: server, Gate: gate, Auth: proxy.SCRAM}, []string{"no password to ask clients for"}},
		{"tcp", "127.0.0.1:0", proxy.Config{Server: server, Gate: gate, User: "u", Password: "p"}, []string{
			"a user or a database of its own", "nobody is asked for",
		}},
		{"tcp", "127.0.0.1:0", proxy.Config{Server: server, Gate: gate, Parameters: map[string]string{"user": "u", "x": "\x00"}}, []string{
			`"user" is no setting`, `"x" has a zero byte`,
		}},
		{"unix", "/tmp/socket", proxy.Config{Server: server, Gate: gate}, []string{"try .s.PGSQL.5432"}},
		{"unix", "/tmp/a,b/.s.PGSQL.1", proxy.Config{Server: server, Gate: gate}, []string{"a comma"}},
		{"tcp", "256.0.0.1:0", proxy.Config{Server: server, Gate: gate}, []string{"try another address"}},
	} {
		p, err := proxy.Listen(t.Context(), c.network, c.address, c.config)
		require.Nil(t, p)
		for _, want := range c.want {
			require.ErrorContains(t, err, want)
		}
	}
	// There is nobody at the server's address.
	away := server.Copy()
	away.Host = t.TempDir()
	for _, auth := range []proxy.Auth{proxy.Pass, proxy.Trust} {
		p, err := proxy.Listen(t.Context(), "tcp", "0.0.0.0:0", proxy.Config{Server: away, Gate: wire.New(wire.Config{}), Auth: auth})
		require.NoError(t, err)
		_, _, err = connect(t, parse(t, p.URL()))
		require.Contains(t, told(err), "08001")
		require.Contains(t, told(err), "could not connect to the server")
		require.NoError(t, p.Close())
		require.True(t, slices.Contains([]string{"127.0.0.1"}, parse(t, p.URL()).Host))
	}
}
