// Package desk is where a person sits at a gate of package wire: it tells what the sessions do, a line for each thing that happens, and does with
// held steps what the person says.
//
// # What is told
//
// That a session connects, each step and how the server answered it, whom it waits for, and how the session ends. That a step waits for a lock is no
// message of the protocol: [Desk] asks for it on a connection of its own, of which a step that is answered at once knows nothing. Where there is no
// such connection, waits are not told.
//
// # What may be said
//
// [Desk.Serve] takes a line for each thing to do, and answers when its effect has been seen: a released step has been answered, or waits for a lock.
// So the order of lines is the order of steps, also where nobody sits there and the lines come from a file. With [Config].Script, what is to be done
// with a step waits until it is held.
package desk
