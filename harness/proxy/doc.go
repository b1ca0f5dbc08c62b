// Package proxy is the gate of package wire behind a listener, for any application: whoever is told that Postgres is there talks to the server
// through a session of the gate.
//
// # Who authenticates
//
// With [Pass], the client's own startup packet goes to the server and the two agree between themselves, by any method that does not bind itself to
// the connection below it. The server takes the proxy for its client: where it asks for nothing because of where the proxy is or who runs it (trust,
// peer, ident, a certificate), clients on other machines are refused; those on this one have the rights of who runs the proxy. With [Trust], [Password] and [SCRAM], the proxy authenticates the client, and connects with the user and password of
// [Config].Server. A client then gets the database and the user that the proxy was given, whatever it asks for. Its other parameters, options and
// the kind of replication it wants go on to the server. It is given protocol 3.0.
//
// # Encryption
//
// A client's leg is encrypted if the client wants it and [Config].TLS is set, the server's as Config.Server says; the gate is between the two and
// sees all. What binds a password to a certificate (SCRAM-SHA-256-PLUS) would find ours instead of the server's, so with Pass it is taken off the
// list that the server offers. A client on a connection of its own that is not encrypted then goes on with SCRAM-SHA-256. One that is encrypted and
// says that it could have bound, as libpq and pgx do unless they are given channel_binding=disable, the server takes for one that was tricked, and
// refuses: the proxy tells it so, and that [SCRAM] is the way out. GSSAPI encryption is declined.
//
// # Requests to cancel
//
// A request to cancel is a connection of its own. It goes to the gate, which fails a step that is held, and from there to the server that the
// session is at.
package proxy
