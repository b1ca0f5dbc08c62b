// Package stress runs scenarios freely, at full speed: all clients are released at once, each on a connection of its own, and invariants are
// looked at while they run and when they are done. What it finds it makes smaller and repeats; what it does not find proves nothing.
package stress
